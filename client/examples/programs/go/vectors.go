package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/encoding/protodelim"

	pb "scalpel-example/scalpelv1"
)

// checkVectors assembles the streams in a folder and compares with what their .txt files say.
func checkVectors(folder string) error {
	streams, err := filepath.Glob(filepath.Join(folder, "*.bin"))
	if err != nil {
		return err
	}
	if len(streams) == 0 {
		return fmt.Errorf("%s: there are no streams", folder)
	}
	for _, stream := range streams {
		data, err := os.ReadFile(stream)
		if err != nil {
			return err
		}
		stem := strings.TrimSuffix(stream, ".bin")
		expected, err := os.ReadFile(stem + ".txt")
		if err != nil {
			return err
		}
		lines, err := assemble(data)
		if err != nil {
			return fmt.Errorf("%s: %w", stream, err)
		}
		fmt.Printf("stream %s\n%s", filepath.Base(stem), lines)
		if lines != string(expected) {
			return fmt.Errorf("%s: this is not what the .txt file says", stream)
		}
	}
	fmt.Println(len(streams), "streams agree")
	return nil
}

// assemble returns the lines of a stream of length-delimited messages.
func assemble(data []byte) (string, error) {
	var tensors assembler
	var lines strings.Builder
	reader := bufio.NewReader(bytes.NewReader(data))
	for {
		var response pb.RunResponse
		err := protodelim.UnmarshalFrom(reader, &response)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", err
		}
		if chunk := response.GetTensorChunk(); chunk != nil {
			line, err := tensors.add(chunk)
			if err != nil {
				return broken(&lines, err), nil
			}
			if line != "" {
				fmt.Fprintln(&lines, line)
			}
		}
	}
	if err := tensors.finish(); err != nil {
		return broken(&lines, err), nil
	}
	return lines.String(), nil
}

func broken(lines *strings.Builder, err error) string {
	log.Print(err)
	return lines.String() + "broken\n"
}
