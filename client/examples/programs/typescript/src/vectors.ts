// Checks the assembly of tensors against the streams in proto/vectors.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { BinaryReader } from "@bufbuild/protobuf/wire";

import { RunResponse } from "./generated/scalpel/v1/run.js";
import { Assembler, BrokenStream } from "./tensors.js";

/** Prints each stream's lines; throws if one differs from what its .txt file says. */
export function checkVectors(folder: string): void {
  const streams = readdirSync(folder).filter((file) => file.endsWith(".bin"));
  if (streams.length === 0) throw new Error(`${folder}: there are no streams`);
  for (const stream of streams.sort()) {
    const name = stream.replace(/\.bin$/, "");
    const lines = assemble(readFileSync(join(folder, stream)));
    console.log([`stream ${name}`, ...lines].join("\n"));
    if (`${lines.join("\n")}\n` !== readFileSync(join(folder, `${name}.txt`), "utf8")) {
      throw new Error(`${stream}: this is not what the .txt file says`);
    }
  }
  console.log(`${streams.length} streams agree`);
}

/** The lines of a stream of messages that each follow their length. */
function assemble(data: Buffer): string[] {
  const assembler = new Assembler();
  const lines: string[] = [];
  const reader = new BinaryReader(data);
  try {
    while (reader.pos < reader.len) {
      const { event } = RunResponse.decode(reader, reader.uint32());
      const line = event?.$case === "tensorChunk" ? assembler.add(event.value) : undefined;
      if (line) lines.push(line);
    }
    assembler.finish();
  } catch (error) {
    if (!(error instanceof BrokenStream)) throw error;
    console.error(error.message);
    lines.push("broken");
  }
  return lines;
}
