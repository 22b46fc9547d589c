// Command relay hands OTLP/gRPC requests on without looking at them: what grpc-go and the kernel cost, and so what no
// gateway written with it can do better.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
)

const service = "opentelemetry.proto.collector.logs.v1.LogsService"

func main() {
	config := flag.String("config", "", "file with the host:port of the server and that which requests go to")
	flag.Parse()
	text, err := os.ReadFile(*config)
	if at := strings.Fields(string(text)); err == nil && len(at) == 2 {
		err = relay(at[0], at[1])
	} else if err == nil {
		err = errors.New("the file must have two words")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "relay:", err)
		os.Exit(1)
	}
}

func relay(listen, to string) error {
	// The buffers and windows are those of the gateway.
	conn, err := grpc.NewClient(to, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithWriteBufferSize(256<<10),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{})))
	if err != nil {
		return err
	}
	defer conn.Close()
	server := grpc.NewServer(grpc.ForceServerCodecV2(raw{}), grpc.MaxRecvMsgSize(20<<20), grpc.ReadBufferSize(256<<10),
		grpc.InitialWindowSize(1<<20), grpc.InitialConnWindowSize(4<<20))
	server.RegisterService(&grpc.ServiceDesc{ServiceName: service, Methods: []grpc.MethodDesc{{
		MethodName: "Export",
		Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var request, answer mem.BufferSlice
			if err := decode(&request); err != nil {
				return nil, err
			}
			defer request.Free()
			err := conn.Invoke(ctx, "/"+service+"/Export", request, &answer)
			return answer, err
		},
	}}}, nil)
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, server.Stop)()
	return server.Serve(l)
}

// raw is a codec that leaves messages as they are.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	s := v.(mem.BufferSlice)
	s.Ref()
	return s, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	data.Ref()
	*v.(*mem.BufferSlice) = data
	return nil
}
