// Puts the tensors of a response stream together.
import { createHash } from "node:crypto";

import {
  DataType,
  dataTypeToJSON,
  type TensorChunk,
  type TensorHeader,
} from "./generated/scalpel/v1/tensor.js";

const ELEMENT_BYTES = new Map([
  [DataType.DATA_TYPE_UNSPECIFIED, 4], // By the contract: float32.
  [DataType.DATA_TYPE_FLOAT32, 4],
  [DataType.DATA_TYPE_FLOAT16, 2],
  [DataType.DATA_TYPE_BFLOAT16, 2],
]);

/** The chunks do not follow the contract. */
export class BrokenStream extends Error {}

/** Takes chunks in the order in which they come. */
export class Assembler {
  private begun = 0; // Tensors, complete or not.
  private header?: TensorHeader;
  private pieces: Buffer[] = [];
  private size = 0;

  /** Returns the tensor's line when it is complete. */
  add(chunk: TensorChunk): string | undefined {
    if (chunk.header) this.begin(chunk.header);
    const header = this.header;
    if (chunk.tensorId !== header?.tensorId) {
      throw new BrokenStream(`a chunk of tensor ${chunk.tensorId}, which has not begun`);
    }
    if (chunk.offset !== this.size) {
      throw new BrokenStream(`a chunk at byte ${chunk.offset}, not at ${this.size}`);
    }
    // Grows with what has arrived, not with what a header promises.
    this.pieces.push(chunk.data);
    this.size += chunk.data.length;
    if (this.size > header.sizeBytes) {
      throw new BrokenStream(`more data than ${header.sizeBytes} bytes`);
    }
    if (this.size < header.sizeBytes) return undefined;
    this.header = undefined;
    return describe(header, this.pieces.length, decode(header.dtype, Buffer.concat(this.pieces)));
  }

  finish(): void {
    if (this.header) {
      throw new BrokenStream(`the stream ended inside tensor ${this.header.tensorId}`);
    }
  }

  private begin(header: TensorHeader): void {
    if (this.header || header.tensorId !== this.begun) {
      throw new BrokenStream(`tensor ${header.tensorId} begins where it must not`);
    }
    const elements = header.shape.reduce((product, length) => product * length, 1);
    const size = elements * (ELEMENT_BYTES.get(header.dtype) ?? 0);
    if (size < 1 || size !== header.sizeBytes) {
      throw new BrokenStream(`${header.sizeBytes} bytes, where type and shape make ${size}`);
    }
    this.begun += 1;
    this.header = header;
    this.pieces = [];
    this.size = 0;
  }
}

function decode(dtype: DataType, data: Buffer): Float32Array {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const width = ELEMENT_BYTES.get(dtype) ?? 4;
  return Float32Array.from({ length: data.length / width }, (_, i) => {
    switch (dtype) {
      case DataType.DATA_TYPE_FLOAT16:
        return float16(view.getUint16(2 * i, true));
      case DataType.DATA_TYPE_BFLOAT16:
        return bfloat16(view.getUint16(2 * i, true));
      default:
        return view.getFloat32(4 * i, true);
    }
  });
}

/** Widens IEEE 754 binary16. */
function float16(bits: number): number {
  const sign = bits >> 15 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Widens bfloat16, the upper half of a float32. */
function bfloat16(bits: number): number {
  return new Float32Array(new Uint32Array([bits << 16]).buffer)[0];
}

function describe(header: TensorHeader, chunks: number, values: Float32Array): string {
  const run = header.clean ? "clean" : "edited";
  const dtype = dataTypeToJSON(header.dtype || DataType.DATA_TYPE_FLOAT32)
    .replace("DATA_TYPE_", "")
    .toLowerCase();
  const bytes = new DataView(new ArrayBuffer(4 * values.length));
  values.forEach((value, i) => bytes.setFloat32(4 * i, value, true));
  const digest = createHash("sha256").update(bytes).digest("hex");
  const shape = header.shape.join("x");
  return `tensor ${header.name} ${run} ${dtype} ${shape} chunks ${chunks} sha256 ${digest}`;
}
