// Servers on goroutines: net, and net/http.
//
// The protocol is in ../../README.md.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"time"
)

// bufferSize is that of an echo: the size in tokio's README, as all servers have it.
const bufferSize = 1024

// timeOut is set on every request where one is. It never passes.
const timeOut = 30 * time.Second

var servers = []struct {
	name  string
	serve func(net.Listener) error
}{
	{"echo", func(l net.Listener) error { return accept(l, echo) }},
	{"http", serveHTTP},
	{"echo-time-outs", func(l net.Listener) error { return accept(l, echoWithTimeOuts) }},
	{"echo-beside", func(l net.Listener) error {
		for range runtime.GOMAXPROCS(0) {
			go compute()
		}
		return accept(l, echo)
	}},
}

func main() {
	args := os.Args[1:]
	switch {
	case len(args) == 1 && args[0] == "list":
		for _, server := range servers {
			fmt.Println(server.name)
		}
	case len(args) == 3:
		runtime.GOMAXPROCS(number(args[1]))
		for _, server := range servers {
			if server.name == args[0] {
				listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", number(args[2])))
				if err == nil {
					err = server.serve(listener)
				}
				fail(fmt.Sprintf("%s at port %s: %v", args[0], args[2], err))
			}
		}
		fail("there is no server " + args[0])
	default:
		fail("arguments: list, or SERVER WORKERS PORT")
	}
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(2)
}

func number(word string) int {
	n, err := strconv.Atoi(word)
	if err != nil {
		fail(word + " is not a number")
	}
	return n
}

// accept serves each connection in a goroutine.
func accept(listener net.Listener, serve func(net.Conn)) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go serve(conn)
	}
}

func echo(conn net.Conn) {
	defer conn.Close()
	buffer := make([]byte, bufferSize)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		if _, err := conn.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func echoWithTimeOuts(conn net.Conn) {
	defer conn.Close()
	buffer := make([]byte, bufferSize)
	for {
		if err := conn.SetDeadline(time.Now().Add(timeOut)); err != nil {
			return
		}
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		if _, err := conn.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func serveHTTP(listener net.Listener) error {
	hello := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, "Hello, World!")
	}
	return http.Serve(listener, http.HandlerFunc(hello))
}

var sink uint64

// compute is what a CPU-bound goroutine does.
func compute() {
	for n := uint64(1); ; n++ {
		n *= 0x9e3779b97f4a7c15
		if n == 0 {
			sink = n
		}
	}
}
