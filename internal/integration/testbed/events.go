package testbed

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// Event is a fact of the ledger, as the daemon streams it.
type Event struct {
	Revision int64           `json:"-"` // of its batch
	Time     time.Time       `json:"time"`
	Actor    string          `json:"actor"`
	Cause    string          `json:"cause"`
	Kind     string          `json:"kind"`
	Data     json.RawMessage `json:"data"`
}

// ReadEvents reads the batches of a stream of server-sent events until it ends or take returns false.
func ReadEvents(r io.Reader, take func(Event) bool) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 4<<20)
	name := ""
	for sc.Scan() {
		line := sc.Text()
		if n, ok := strings.CutPrefix(line, "event: "); ok {
			name = n
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok || name != "batch" {
			continue
		}
		var batch struct {
			Revision int64   `json:"revision"`
			Events   []Event `json:"events"`
		}
		if err := json.Unmarshal([]byte(data), &batch); err != nil {
			return fmt.Errorf("events: %w", err)
		}
		for _, e := range batch.Events {
			e.Revision = batch.Revision
			if !take(e) {
				return nil
			}
		}
	}
	return sc.Err()
}
