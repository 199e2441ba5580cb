// Scalpel from Go: statistics and tensors of a run, a refused request, a deadline, a cancel.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "scalpel-example/scalpelv1"
)

//go:generate ./generate.sh

const text = "When Mary and John went to the store, John gave a drink to"

func main() {
	log.SetFlags(0)
	if len(os.Args) == 3 && os.Args[1] == "check-vectors" {
		if err := checkVectors(os.Args[2]); err != nil {
			log.Fatal(err)
		}
		return
	}
	address := "127.0.0.1:50051"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	if err := talk(address); err != nil {
		log.Fatal(err)
	}
}

func talk(address string) error {
	// With TLS: credentials.NewTLS(&tls.Config{}).
	// With a token: metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token).
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	client := pb.NewInterventionServiceClient(conn)
	ctx := context.Background()
	if err := run(ctx, client); err != nil {
		return err
	}
	if err := refused(ctx, client); err != nil {
		return err
	}
	if err := deadline(ctx, client); err != nil {
		return err
	}
	return cancel(ctx, client)
}

// newRequest scales block 9 by 0.1, beside the clean run; statistics, and an attention pattern.
func newRequest(prompts int) *pb.RunRequest {
	prompt := strings.TrimSpace(strings.Repeat(text+" ", 16))
	request := &pb.RunRequest{
		Interventions: []*pb.Intervention{{
			Place:     &pb.Place{Path: "blocks.9.hook_resid_post"},
			Operation: &pb.Intervention_Scale{Scale: &pb.Scale{Factor: proto.Float64(0.1)}},
		}},
		Probes: []*pb.Probe{{
			Place:      &pb.Place{Path: "resid_post"},
			Statistics: []pb.Statistic{pb.Statistic_STATISTIC_STD},
		}},
		Captures:        []*pb.Capture{{Place: &pb.Place{Path: "blocks.10.attn.hook_pattern"}}},
		Logits:          &pb.LogitsRequest{Form: &pb.LogitsRequest_None{None: &pb.NoLogits{}}},
		IncludeCleanRun: true,
	}
	for i := 0; i < prompts; i++ {
		request.Prompts = append(request.Prompts, &pb.Prompt{Content: &pb.Prompt_Text{Text: prompt}})
	}
	return request
}

// slowRequest takes seconds: the medians of the attention patterns of 32 prompts.
func slowRequest() *pb.RunRequest {
	request := newRequest(32)
	median := &pb.Probe{Place: &pb.Place{Path: "pattern"}, Quantiles: []float64{0.5}}
	request.Probes = append(request.Probes, median)
	return request
}

// run prints events as they arrive, while later layers still compute.
func run(ctx context.Context, client pb.InterventionServiceClient) error {
	stream, err := client.Run(ctx, newRequest(1))
	if err != nil {
		return err
	}
	var tensors assembler
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return tensors.finish()
		}
		if err != nil {
			return err
		}
		switch event := response.Event.(type) {
		case *pb.RunResponse_Started:
			fmt.Printf("started %d tokens\n", len(event.Started.Prompts[0].Ids))
		case *pb.RunResponse_LayerStatistics:
			printStatistics(event.LayerStatistics)
		case *pb.RunResponse_TensorChunk:
			line, err := tensors.add(event.TensorChunk)
			if err != nil {
				return err
			}
			if line != "" {
				fmt.Println(line)
			}
		}
	}
}

func printStatistics(layer *pb.LayerStatistics) {
	var clean, edited float64
	for _, result := range layer.Results {
		if result.Clean {
			clean = result.Statistics[0].Values[0]
		} else {
			edited = result.Statistics[0].Values[0]
		}
	}
	fmt.Printf("layer %d std clean %.4f edited %.4f\n", layer.GetLayer(), clean, edited)
}

// refused sends two mistakes, and is told both at once.
func refused(ctx context.Context, client pb.InterventionServiceClient) error {
	request := newRequest(1)
	scale := request.Interventions[0]
	scale.Place = &pb.Place{Path: "resid_post", Where: &pb.Selection{Layers: []int32{1000}}}
	scale.GetScale().Factor = nil
	refusal, err := statusOf(client.Run(ctx, request))
	if err != nil {
		return err
	}
	fmt.Println("refused", code.Code(refusal.Code()))
	for _, detail := range refusal.Details() {
		if bad, ok := detail.(*errdetails.BadRequest); ok {
			for _, violation := range bad.FieldViolations {
				fmt.Printf("violation %s: %s\n", violation.Field, violation.Description)
			}
		}
	}
	return nil
}

func deadline(ctx context.Context, client pb.InterventionServiceClient) error {
	ctx, stop := context.WithTimeout(ctx, 200*time.Millisecond)
	defer stop()
	end, err := statusOf(client.Run(ctx, slowRequest()))
	if err != nil {
		return err
	}
	fmt.Println("deadline", code.Code(end.Code()))
	return nil
}

func cancel(ctx context.Context, client pb.InterventionServiceClient) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	stream, err := client.Run(ctx, slowRequest())
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if first.GetStarted() == nil {
		return errors.New("the first event is another one")
	}
	stop()
	end, err := statusOf(stream, nil)
	if err != nil {
		return err
	}
	if end.Code() != codes.Canceled {
		return end.Err()
	}
	fmt.Println("cancelled after started")
	return nil
}

// statusOf reads a stream to its end, which must be an error, and returns that.
func statusOf(stream pb.InterventionService_RunClient, err error) (*status.Status, error) {
	for err == nil {
		_, err = stream.Recv()
	}
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the run was complete")
	}
	return status.Convert(err), nil
}
