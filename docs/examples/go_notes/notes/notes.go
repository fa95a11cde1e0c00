// Package notes keeps notes in a log, one line each. A note is durable once Add returns.
//
// The comment in Add is a failpoint of gofail: `gofail enable` makes code of it.
package notes

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Log is an open log.
type Log struct {
	file   *os.File
	buffer *bufio.Writer
}

// Open opens the log of a folder, or makes it; its name is durable then.
func Open(root string) (*Log, error) {
	file, err := os.OpenFile(filepath.Join(root, "notes"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	folder, err := os.Open(root)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	return &Log{file, bufio.NewWriter(file)}, folder.Sync()
}

// Add appends a note.
func (log *Log) Add(note string) error {
	fmt.Fprintln(log.buffer, note)
	if os.Getenv("NOTES_BUG") == "buffered" {
		return nil
	}
	if err := log.buffer.Flush(); err != nil {
		return err
	}
	// gofail: var notesBeforeSync struct{}
	return log.file.Sync()
}

// Close writes what is buffered, and closes the log.
func (log *Log) Close() error {
	if err := log.buffer.Flush(); err != nil {
		return err
	}
	return log.file.Close()
}

// Read returns the notes that are there; behind the last line break is nothing, or a torn note.
func Read(root string) ([]string, error) {
	content, err := os.ReadFile(filepath.Join(root, "notes"))
	if os.IsNotExist(err) {
		return nil, nil
	}
	lines := strings.Split(string(content), "\n")
	return lines[:len(lines)-1], err
}
