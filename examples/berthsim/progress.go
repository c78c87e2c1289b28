package main

import (
	"fmt"
	"io"
	"time"
)

// teller says on stderr how far a long run is: nothing in the first seconds, then a line now and then.
type teller struct {
	w    io.Writer
	next time.Time
}

const tellAfter, tellEvery = 3 * time.Second, 5 * time.Second

func newTeller(w io.Writer) *teller { return &teller{w: w, next: time.Now().Add(tellAfter)} }

func (t *teller) say(format string, args ...any) {
	if now := time.Now(); now.After(t.next) {
		t.next = now.Add(tellEvery)
		fmt.Fprintf(t.w, format+"\n", args...)
	}
}
