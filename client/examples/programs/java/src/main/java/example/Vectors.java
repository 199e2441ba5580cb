package example;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import scalpel.v1.Run.RunResponse;

/** Checks the assembly of tensors against the streams in proto/vectors. */
final class Vectors {
  private Vectors() {}

  /** Prints each stream's lines; fails if one differs from what its .txt file says. */
  static void check(Path folder) throws IOException {
    List<Path> streams;
    try (Stream<Path> files = Files.list(folder)) {
      streams = files.filter(file -> file.toString().endsWith(".bin")).sorted().toList();
    }
    if (streams.isEmpty()) {
      throw new IOException(folder + ": there are no streams");
    }
    for (Path stream : streams) {
      String name = stream.getFileName().toString().replace(".bin", "");
      List<String> lines = assemble(Files.readAllBytes(stream));
      System.out.println("stream " + name);
      lines.forEach(System.out::println);
      if (!lines.equals(Files.readAllLines(folder.resolve(name + ".txt")))) {
        throw new IOException(stream + ": this is not what the .txt file says");
      }
    }
    System.out.println(streams.size() + " streams agree");
  }

  private static List<String> assemble(byte[] data) throws IOException {
    Assembler assembler = new Assembler();
    List<String> lines = new ArrayList<>();
    InputStream input = new ByteArrayInputStream(data);
    try {
      for (RunResponse event; (event = RunResponse.parseDelimitedFrom(input)) != null; ) {
        if (event.hasTensorChunk()) {
          assembler.add(event.getTensorChunk()).ifPresent(lines::add);
        }
      }
      assembler.finish();
    } catch (Assembler.BrokenStreamException broken) {
      System.err.println(broken.getMessage());
      lines.add("broken");
    }
    return lines;
  }
}
