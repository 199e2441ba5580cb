package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	pb "scalpel-example/scalpelv1"
)

// An assembler takes the chunks of a stream in the order in which they come.
type assembler struct {
	begun  uint32 // Tensors, complete or not.
	header *pb.TensorHeader
	chunks int
	data   []byte
}

// add returns the tensor's line when it is complete, and "" before.
func (a *assembler) add(chunk *pb.TensorChunk) (string, error) {
	if chunk.Header != nil {
		if err := a.begin(chunk.Header); err != nil {
			return "", err
		}
	}
	if a.header == nil || chunk.TensorId != a.header.TensorId {
		return "", fmt.Errorf("a chunk of tensor %d, which has not begun", chunk.TensorId)
	}
	if chunk.Offset != uint64(len(a.data)) {
		return "", fmt.Errorf("a chunk at byte %d, not at %d", chunk.Offset, len(a.data))
	}
	// Grows with what has arrived, not with what a header promises.
	a.data = append(a.data, chunk.Data...)
	a.chunks++
	switch size := uint64(len(a.data)); {
	case size > a.header.SizeBytes:
		return "", fmt.Errorf("more data than %d bytes", a.header.SizeBytes)
	case size < a.header.SizeBytes:
		return "", nil
	}
	line := describe(a.header, a.chunks, decode(a.header.Dtype, a.data))
	a.header = nil
	return line, nil
}

func (a *assembler) finish() error {
	if a.header != nil {
		return fmt.Errorf("the stream ended inside tensor %d", a.header.TensorId)
	}
	return nil
}

func (a *assembler) begin(header *pb.TensorHeader) error {
	if a.header != nil || header.TensorId != a.begun {
		return fmt.Errorf("tensor %d begins where it must not", header.TensorId)
	}
	size := elementBytes(header.Dtype)
	for _, length := range header.Shape {
		size *= uint64(length)
	}
	if size == 0 || size != header.SizeBytes {
		return fmt.Errorf("%d bytes, where type and shape make %d", header.SizeBytes, size)
	}
	a.begun++
	a.header, a.chunks, a.data = header, 0, nil
	return nil
}

// elementBytes is 0 for a type that is not known.
func elementBytes(dtype pb.DataType) uint64 {
	switch dtype {
	case pb.DataType_DATA_TYPE_UNSPECIFIED, pb.DataType_DATA_TYPE_FLOAT32:
		return 4
	case pb.DataType_DATA_TYPE_FLOAT16, pb.DataType_DATA_TYPE_BFLOAT16:
		return 2
	}
	return 0
}

func decode(dtype pb.DataType, data []byte) []float32 {
	width := int(elementBytes(dtype))
	values := make([]float32, len(data)/width)
	for i := range values {
		element := data[i*width:]
		switch dtype {
		case pb.DataType_DATA_TYPE_FLOAT16:
			values[i] = float16(binary.LittleEndian.Uint16(element))
		case pb.DataType_DATA_TYPE_BFLOAT16: // The upper half of a float32.
			values[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(element)) << 16)
		default:
			values[i] = math.Float32frombits(binary.LittleEndian.Uint32(element))
		}
	}
	return values
}

// float16 widens IEEE 754 binary16.
func float16(bits uint16) float32 {
	sign, exponent, fraction := uint32(bits>>15)<<31, uint32(bits>>10&31), uint32(bits&1023)
	switch exponent {
	case 0: // Zero, or subnormal: a multiple of 2^-24.
		magnitude := math.Float32bits(float32(fraction) / (1 << 24))
		return math.Float32frombits(sign | magnitude)
	case 31: // Infinity, or not a number.
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}

func describe(header *pb.TensorHeader, chunks int, values []float32) string {
	run := "edited"
	if header.Clean {
		run = "clean"
	}
	dtype := header.Dtype
	if dtype == pb.DataType_DATA_TYPE_UNSPECIFIED {
		dtype = pb.DataType_DATA_TYPE_FLOAT32
	}
	name := strings.ToLower(strings.TrimPrefix(dtype.String(), "DATA_TYPE_"))
	shape := strings.ReplaceAll(strings.Trim(fmt.Sprint(header.Shape), "[]"), " ", "x")
	digest := sha256.New()
	binary.Write(digest, binary.LittleEndian, values) // A hash takes everything: no error.
	return fmt.Sprintf("tensor %s %s %s %s chunks %d sha256 %x",
		header.Name, run, name, shape, chunks, digest.Sum(nil))
}
