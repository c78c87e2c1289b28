package notify

import (
	"context"
	"sync"
)

// Notes is where a receiver keeps what it has to know of an incident until the next message: which message of a chat to
// change, which thread to go on in. What is lost costs a second thread, no message. It is safe for concurrent use.
type Notes interface {
	Load(ctx context.Context, name string) (string, error) // "": there is none
	Save(ctx context.Context, name, text string) error     // an empty text removes it
}

// MemoryNotes are Notes that are gone when the program ends. The zero value is empty.
type MemoryNotes struct {
	mu    sync.Mutex
	notes map[string]string
}

// Load implements Notes.
func (n *MemoryNotes) Load(_ context.Context, name string) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.notes[name], nil
}

// Save implements Notes.
func (n *MemoryNotes) Save(_ context.Context, name, text string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.notes == nil {
		n.notes = make(map[string]string)
	}
	if n.notes[name] = text; text == "" {
		delete(n.notes, name)
	}
	return nil
}
