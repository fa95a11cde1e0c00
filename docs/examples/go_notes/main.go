// Notes in Go.
//
//	go_notes fill ROOT     store eight notes
//	go_notes dump ROOT     print those that are there, as JSON
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"go_notes/notes"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func fill(root string) {
	journal, err := os.OpenFile(os.Getenv("CRASHMATRIX_JOURNAL"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	must(err)
	log, err := notes.Open(root)
	must(err)
	for i := 0; i < 8; i++ {
		note := fmt.Sprintf("note %d", i)
		fmt.Fprintf(journal, "attempt %q\n", note) // One write, not buffered.
		must(log.Add(note))
		fmt.Fprintf(journal, "ack %q\n", note)
	}
	must(log.Close())
}

func dump(root string) {
	lines, err := notes.Read(root)
	must(err)
	for _, line := range lines {
		must(json.NewEncoder(os.Stdout).Encode(line))
	}
}

func main() {
	switch os.Args[1] {
	case "fill":
		fill(os.Args[2])
	case "dump":
		dump(os.Args[2])
	}
}
