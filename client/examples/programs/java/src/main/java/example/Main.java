package example;

import com.google.protobuf.Any;
import com.google.rpc.BadRequest;
import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Collections;
import java.util.Iterator;
import java.util.Locale;
import java.util.concurrent.TimeUnit;
import scalpel.v1.InterventionOuterClass.Intervention;
import scalpel.v1.InterventionOuterClass.Scale;
import scalpel.v1.InterventionServiceGrpc;
import scalpel.v1.InterventionServiceGrpc.InterventionServiceBlockingStub;
import scalpel.v1.Observation.Capture;
import scalpel.v1.Observation.Probe;
import scalpel.v1.Observation.ProbeResult;
import scalpel.v1.Output.LogitsRequest;
import scalpel.v1.Output.NoLogits;
import scalpel.v1.PlaceOuterClass.Place;
import scalpel.v1.PlaceOuterClass.Selection;
import scalpel.v1.PromptOuterClass.Prompt;
import scalpel.v1.Run.LayerStatistics;
import scalpel.v1.Run.RunRequest;
import scalpel.v1.Run.RunResponse;
import scalpel.v1.StatisticOuterClass.Statistic;

/** Scalpel from Java: statistics and tensors of a run, a refused request, a deadline, a cancel. */
public final class Main {
  private static final String TEXT = "When Mary and John went to the store, John gave a drink to";

  public static void main(String[] arguments) throws InterruptedException {
    try {
      if (arguments.length == 2 && arguments[0].equals("check-vectors")) {
        Vectors.check(Path.of(arguments[1]));
      } else {
        talk(arguments.length > 0 ? arguments[0] : "127.0.0.1:50051");
      }
    } catch (IOException | StatusRuntimeException error) {
      System.err.println(error.getMessage());
      System.exit(1);
    }
  }

  private static void talk(String address) throws IOException, InterruptedException {
    // With TLS: TlsChannelCredentials.create().
    // With a token: MetadataUtils.newAttachHeadersInterceptor, with the key "authorization".
    ManagedChannel channel =
        Grpc.newChannelBuilder(address, InsecureChannelCredentials.create()).build();
    try {
      InterventionServiceBlockingStub stub = InterventionServiceGrpc.newBlockingStub(channel);
      run(stub);
      refused(stub);
      deadline(stub);
      cancel(stub);
    } finally {
      channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
    }
  }

  /** Block 9 scaled by 0.1, beside the clean run; statistics, and an attention pattern. */
  private static RunRequest.Builder newRequest(int prompts) {
    String text = String.join(" ", Collections.nCopies(16, TEXT));
    return RunRequest.newBuilder()
        .addAllPrompts(Collections.nCopies(prompts, Prompt.newBuilder().setText(text).build()))
        .addInterventions(
            Intervention.newBuilder()
                .setPlace(place("blocks.9.hook_resid_post"))
                .setScale(Scale.newBuilder().setFactor(0.1)))
        .addProbes(
            Probe.newBuilder().setPlace(place("resid_post")).addStatistics(Statistic.STATISTIC_STD))
        .addCaptures(Capture.newBuilder().setPlace(place("blocks.10.attn.hook_pattern")))
        .setLogits(LogitsRequest.newBuilder().setNone(NoLogits.getDefaultInstance()))
        .setIncludeCleanRun(true);
  }

  /** A request of seconds: the medians of the attention patterns of 32 prompts. */
  private static RunRequest slowRequest() {
    return newRequest(32)
        .addProbes(Probe.newBuilder().setPlace(place("pattern")).addQuantiles(0.5))
        .build();
  }

  private static Place.Builder place(String path) {
    return Place.newBuilder().setPath(path);
  }

  /** Events arrive while later layers still compute. */
  private static void run(InterventionServiceBlockingStub stub) throws IOException {
    Assembler assembler = new Assembler();
    Iterator<RunResponse> events = stub.run(newRequest(1).build());
    while (events.hasNext()) {
      RunResponse event = events.next();
      switch (event.getEventCase()) {
        case STARTED ->
            System.out.printf(
                "started %d tokens%n", event.getStarted().getPrompts(0).getIdsCount());
        case LAYER_STATISTICS -> printStatistics(event.getLayerStatistics());
        case TENSOR_CHUNK -> assembler.add(event.getTensorChunk()).ifPresent(System.out::println);
        default -> {}
      }
    }
    assembler.finish();
  }

  private static void printStatistics(LayerStatistics layer) {
    double clean = Double.NaN;
    double edited = Double.NaN;
    for (ProbeResult result : layer.getResultsList()) {
      double std = result.getStatistics(0).getValues(0);
      if (result.getClean()) {
        clean = std;
      } else {
        edited = std;
      }
    }
    System.out.printf(
        Locale.ROOT, "layer %d std clean %.4f edited %.4f%n", layer.getLayer(), clean, edited);
  }

  /** A wrong request is answered with every violation at once. */
  private static void refused(InterventionServiceBlockingStub stub) throws IOException {
    RunRequest.Builder request = newRequest(1);
    request
        .getInterventionsBuilder(0)
        .setPlace(place("resid_post").setWhere(Selection.newBuilder().addLayers(1000)))
        .setScale(Scale.getDefaultInstance());
    StatusRuntimeException refusal = errorOf(stub.run(request.build()));
    System.out.println("refused " + refusal.getStatus().getCode());
    for (Any detail : StatusProto.fromThrowable(refusal).getDetailsList()) {
      if (detail.is(BadRequest.class)) {
        for (var violation : detail.unpack(BadRequest.class).getFieldViolationsList()) {
          System.out.println(
              "violation " + violation.getField() + ": " + violation.getDescription());
        }
      }
    }
  }

  private static void deadline(InterventionServiceBlockingStub stub) {
    var hurried = stub.withDeadlineAfter(200, TimeUnit.MILLISECONDS);
    StatusRuntimeException end = errorOf(hurried.run(slowRequest()));
    System.out.println("deadline " + end.getStatus().getCode());
  }

  private static void cancel(InterventionServiceBlockingStub stub) {
    try (Context.CancellableContext context = Context.current().withCancellation()) {
      Context before = context.attach();
      Iterator<RunResponse> events = stub.run(slowRequest());
      context.detach(before);
      String first = events.next().getEventCase().name().toLowerCase(Locale.ROOT);
      context.cancel(null);
      StatusRuntimeException end = errorOf(events);
      if (end.getStatus().getCode() != Status.Code.CANCELLED) {
        throw end;
      }
      System.out.println("cancelled after " + first);
    }
  }

  /** Reads a stream to its end, which must be an error, and returns that. */
  private static StatusRuntimeException errorOf(Iterator<RunResponse> events) {
    try {
      events.forEachRemaining(event -> {});
    } catch (StatusRuntimeException error) {
      return error;
    }
    throw new IllegalStateException("the run was complete");
  }
}
