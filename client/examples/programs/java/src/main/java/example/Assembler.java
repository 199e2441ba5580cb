package example;

import com.google.protobuf.ByteString;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Collectors;
import scalpel.v1.TensorOuterClass.DataType;
import scalpel.v1.TensorOuterClass.TensorChunk;
import scalpel.v1.TensorOuterClass.TensorHeader;

/** Puts tensors together from the chunks of a stream, in the order in which they come. */
final class Assembler {
  /** The chunks do not follow the contract. */
  static final class BrokenStreamException extends IOException {
    BrokenStreamException(String message) {
      super(message);
    }
  }

  private int begun; // Tensors, complete or not.
  private TensorHeader header; // Null between tensors.
  private int chunks;
  private ByteString data = ByteString.EMPTY;

  /** Returns the tensor's line when it is complete. */
  Optional<String> add(TensorChunk chunk) throws BrokenStreamException {
    if (chunk.hasHeader()) {
      begin(chunk.getHeader());
    }
    if (header == null || chunk.getTensorId() != header.getTensorId()) {
      throw new BrokenStreamException(
          "a chunk of tensor " + chunk.getTensorId() + ", which has not begun");
    }
    if (chunk.getOffset() != data.size()) {
      throw new BrokenStreamException(
          "a chunk at byte " + chunk.getOffset() + ", not at " + data.size());
    }
    // Grows with what has arrived, not with what a header promises.
    data = data.concat(chunk.getData());
    chunks++;
    if (data.size() > header.getSizeBytes()) {
      throw new BrokenStreamException("more data than " + header.getSizeBytes() + " bytes");
    }
    if (data.size() < header.getSizeBytes()) {
      return Optional.empty();
    }
    String line = describe(header, chunks, decode(header.getDtype(), data));
    header = null;
    return Optional.of(line);
  }

  void finish() throws BrokenStreamException {
    if (header != null) {
      throw new BrokenStreamException("the stream ended inside tensor " + header.getTensorId());
    }
  }

  private void begin(TensorHeader next) throws BrokenStreamException {
    if (header != null || next.getTensorId() != begun) {
      throw new BrokenStreamException("tensor " + next.getTensorId() + " begins where it must not");
    }
    long size = elementBytes(next.getDtype());
    for (long length : next.getShapeList()) {
      size *= length;
    }
    if (size < 1 || size != next.getSizeBytes()) {
      throw new BrokenStreamException(
          next.getSizeBytes() + " bytes, where type and shape make " + size);
    }
    begun++;
    header = next;
    chunks = 0;
    data = ByteString.EMPTY;
  }

  /** 0 for a type that is not known. */
  private static int elementBytes(DataType type) {
    return switch (type) {
      case DATA_TYPE_UNSPECIFIED, DATA_TYPE_FLOAT32 -> 4;
      case DATA_TYPE_FLOAT16, DATA_TYPE_BFLOAT16 -> 2;
      case UNRECOGNIZED -> 0;
    };
  }

  private static float[] decode(DataType type, ByteString data) {
    ByteBuffer bytes = data.asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
    float[] values = new float[data.size() / elementBytes(type)];
    for (int i = 0; i < values.length; i++) {
      values[i] =
          switch (type) {
            case DATA_TYPE_FLOAT16 -> float16(Short.toUnsignedInt(bytes.getShort()));
            // The upper half of a float32.
            case DATA_TYPE_BFLOAT16 -> Float.intBitsToFloat(bytes.getShort() << 16);
            default -> bytes.getFloat();
          };
    }
    return values;
  }

  /** Widens IEEE 754 binary16. From Java 20 on: Float.float16ToFloat. */
  private static float float16(int bits) {
    int sign = bits >> 15 << 31;
    int exponent = bits >> 10 & 31;
    int fraction = bits & 1023;
    return Float.intBitsToFloat(
        switch (exponent) {
          // Zero, or subnormal: a multiple of 2^-24.
          case 0 -> sign | Float.floatToRawIntBits(fraction * 0x1p-24f);
          // Infinity, or not a number.
          case 31 -> sign | 0x7f800000 | fraction << 13;
          default -> sign | exponent + 127 - 15 << 23 | fraction << 13;
        });
  }

  private static String describe(TensorHeader header, int chunks, float[] values) {
    DataType type =
        header.getDtype() == DataType.DATA_TYPE_UNSPECIFIED
            ? DataType.DATA_TYPE_FLOAT32
            : header.getDtype();
    return "tensor %s %s %s %s chunks %d sha256 %s"
        .formatted(
            header.getName(),
            header.getClean() ? "clean" : "edited",
            type.name().replace("DATA_TYPE_", "").toLowerCase(Locale.ROOT),
            header.getShapeList().stream().map(String::valueOf).collect(Collectors.joining("x")),
            chunks,
            sha256(values));
  }

  private static String sha256(float[] values) {
    ByteBuffer bytes = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(values);
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes.array()));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
  }
}
