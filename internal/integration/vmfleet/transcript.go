package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// transcript prints what happens, with the time since the beginning, and keeps it for a document.
type transcript struct {
	out   io.Writer
	began time.Time
	hide  *strings.Replacer // paths of this machine; nil: nothing
	doc   bytes.Buffer
	block bool // a block of text is open in doc
}

func newTranscript(out io.Writer) *transcript { return &transcript{out: out, began: time.Now()} }

// section begins a new part.
func (t *transcript) section(title, about string) {
	about = wrap(about, 140)
	fmt.Fprintf(t.out, "\n== %s\n\n%s\n\n", title, about)
	t.close()
	fmt.Fprintf(&t.doc, "\n## %s\n\n%s\n", title, about)
}

// wrap breaks a text into lines of at most width bytes, words that are longer aside.
func wrap(text string, width int) string {
	var out strings.Builder
	used := 0
	for n, word := range strings.Fields(text) {
		switch {
		case n == 0:
		case used+1+len(word) > width:
			out.WriteByte('\n')
			used = 0
		default:
			out.WriteByte(' ')
			used++
		}
		out.WriteString(word)
		used += len(word)
	}
	return out.String()
}

func (t *transcript) close() {
	if t.block {
		t.doc.WriteString("```\n")
		t.block = false
	}
}

// say prints a line of what has happened, or several.
func (t *transcript) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if t.hide != nil {
		text = t.hide.Replace(text)
	}
	for n, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		at := "        "
		if n == 0 {
			at = fmt.Sprintf("%6.1f s", time.Since(t.began).Seconds())
		}
		t.write(strings.TrimRight(at+"  "+line, " "))
	}
}

func (t *transcript) write(line string) {
	fmt.Fprintln(t.out, line)
	if !t.block {
		t.doc.WriteString("\n```text\n")
		t.block = true
	}
	t.doc.WriteString(line + "\n")
}

// asked prints a request to berthd.
func (t *transcript) asked(method, path string, body any) {
	line := method + " " + path
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			b = []byte(err.Error())
		}
		line += "\n  " + string(b)
	}
	t.say("%s", line)
}

// document is the whole as a page of the documentation.
func (t *transcript) document() []byte {
	t.close()
	return append([]byte("# A mixed fleet: drained, cut off, fenced, back\n\n"+wrap(foreword, 140)+"\n"), t.doc.Bytes()...)
}

const foreword = "One berthd over two libvirt hosts, an OpenStack and a Proxmox VE, as an operator drives it. Written by `make vm-fleet TRANSCRIPT=1`, which has done and " +
	"checked what stands here, and not by hand: after the times, what was asked of berthd's API, and what came of it, there and on the hypervisors. The machine had no KVM, " +
	"so that guests were emulated, and others were at work on it. What the commands mean is in [operations](operations.md)."
