// Notes in Go: a log to which each note is appended and synced, one line each.
//
//	go_notes fill ROOT     store eight notes
//	go_notes dump ROOT     print those that are there, as JSON
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func open(path string) *os.File {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	must(err)
	return file
}

func fill(root string) {
	journal := open(os.Getenv("CRASHMATRIX_JOURNAL")) // Not buffered: one write for each line.
	notes := open(filepath.Join(root, "notes"))
	folder, err := os.Open(root)
	must(err)
	must(folder.Sync())
	buffer := bufio.NewWriter(notes)
	for i := 0; i < 8; i++ {
		note := fmt.Sprintf("note %d", i)
		fmt.Fprintf(journal, "attempt %q\n", note)
		fmt.Fprintln(buffer, note)
		if os.Getenv("NOTES_BUG") != "buffered" {
			must(buffer.Flush())
			// gofail: var beforeSync struct{}
			must(notes.Sync())
		}
		fmt.Fprintf(journal, "ack %q\n", note)
	}
	must(buffer.Flush())
}

func dump(root string) {
	content, err := os.ReadFile(filepath.Join(root, "notes"))
	if !os.IsNotExist(err) {
		must(err)
	}
	lines := strings.Split(string(content), "\n")
	for _, line := range lines[:len(lines)-1] { // Behind the last line break is nothing, or a torn note.
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
