// Scalpel from TypeScript: statistics and tensors of a run, a refused request, a deadline, a cancel.
import { credentials, status, type ClientReadableStream, type ServiceError } from "@grpc/grpc-js";

import { BadRequest } from "./generated/google/rpc/error_details.js";
import { Status } from "./generated/google/rpc/status.js";
import { Probe } from "./generated/scalpel/v1/observation.js";
import { RunRequest, type LayerStatistics, type RunResponse } from "./generated/scalpel/v1/run.js";
import { InterventionServiceClient } from "./generated/scalpel/v1/service.js";
import { Statistic } from "./generated/scalpel/v1/statistic.js";
import { Assembler } from "./tensors.js";
import { checkVectors } from "./vectors.js";

const TEXT = "When Mary and John went to the store, John gave a drink to";

/** Block 9 scaled by 0.1, beside the clean run; statistics, and an attention pattern. */
function makeRequest(prompts: number): RunRequest {
  const text = Array(16).fill(TEXT).join(" ");
  return RunRequest.fromPartial({
    prompts: Array(prompts).fill({ content: { $case: "text", value: text } }),
    interventions: [
      {
        place: { path: "blocks.9.hook_resid_post" },
        operation: { $case: "scale", value: { factor: 0.1 } },
      },
    ],
    probes: [{ place: { path: "resid_post" }, statistics: [Statistic.STATISTIC_STD] }],
    captures: [{ place: { path: "blocks.10.attn.hook_pattern" } }],
    logits: { form: { $case: "none", value: {} } },
    includeCleanRun: true,
  });
}

/** A request of seconds: the medians of the attention patterns of 32 prompts. */
function slowRequest(): RunRequest {
  const request = makeRequest(32);
  request.probes.push(Probe.fromPartial({ place: { path: "pattern" }, quantiles: [0.5] }));
  return request;
}

/** Events arrive while later layers still compute. */
async function run(client: InterventionServiceClient): Promise<void> {
  const assembler = new Assembler();
  for await (const response of client.run(makeRequest(1))) {
    const { event } = response as RunResponse;
    switch (event?.$case) {
      case "started":
        console.log(`started ${event.value.prompts[0].ids.length} tokens`);
        break;
      case "layerStatistics":
        printStatistics(event.value);
        break;
      case "tensorChunk": {
        const line = assembler.add(event.value);
        if (line) console.log(line);
        break;
      }
    }
  }
  assembler.finish();
}

function printStatistics({ layer, results }: LayerStatistics): void {
  const std = (clean: boolean) =>
    results.find((result) => result.clean === clean)?.statistics[0].values[0].toFixed(4);
  console.log(`layer ${layer} std clean ${std(true)} edited ${std(false)}`);
}

/** A wrong request is answered with every violation at once. */
async function refused(client: InterventionServiceClient): Promise<void> {
  const request = makeRequest(1);
  request.interventions = RunRequest.fromPartial({
    interventions: [
      {
        place: { path: "resid_post", where: { layers: [1000] } },
        operation: { $case: "scale", value: {} },
      },
    ],
  }).interventions;
  const refusal = await errorOf(client.run(request));
  console.log("refused", status[refusal.code]);
  for (const encoded of refusal.metadata.get("grpc-status-details-bin")) {
    for (const detail of Status.decode(encoded as Buffer).details) {
      if (detail.typeUrl.endsWith("/google.rpc.BadRequest")) {
        for (const { field, description } of BadRequest.decode(detail.value).fieldViolations) {
          console.log(`violation ${field}: ${description}`);
        }
      }
    }
  }
}

async function deadline(client: InterventionServiceClient): Promise<void> {
  const end = await errorOf(client.run(slowRequest(), { deadline: Date.now() + 200 }));
  console.log("deadline", status[end.code]);
}

async function cancel(client: InterventionServiceClient): Promise<void> {
  const call = client.run(slowRequest());
  const first = await call[Symbol.asyncIterator]().next();
  call.cancel();
  const end = await errorOf(call);
  if (end.code !== status.CANCELLED) throw end;
  console.log("cancelled after", (first.value as RunResponse).event?.$case);
}

/** Reads a stream to its end, which must be an error, and returns that. */
async function errorOf(call: ClientReadableStream<RunResponse>): Promise<ServiceError> {
  try {
    for await (const _ of call);
  } catch (error) {
    return error as ServiceError;
  }
  throw new Error("the run was complete");
}

async function main(args: string[]): Promise<void> {
  if (args[0] === "check-vectors" && args.length === 2) {
    checkVectors(args[1]);
    return;
  }
  // With TLS: credentials.createSsl().
  // With a token: metadata.set("authorization", `Bearer ${token}`), given with each call.
  const client = new InterventionServiceClient(
    args[0] ?? "127.0.0.1:50051",
    credentials.createInsecure(),
  );
  try {
    for (const step of [run, refused, deadline, cancel]) await step(client);
  } finally {
    client.close();
  }
}

main(process.argv.slice(2)).catch((error: Error) => {
  console.error(error.message);
  process.exitCode = 1;
});
