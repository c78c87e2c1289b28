package audit_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/berthage/berthage/auth/audit"
	"github.com/berthage/berthage/pool"
)

// A ledger's head is signed; later somebody who has the public key, and neither the ledger nor any trust in whoever
// keeps it, is shown that an event is in it.
func Example() {
	ctx := context.Background()
	ledger := pool.NewMemoryLedger()
	opened, _ := pool.NewEvent(pool.KindOpened, &pool.Opened{Ledger: "FIRST"})
	opened.ID = "e1"
	_, _ = ledger.Append(ctx, 0, opened)
	project, _ := pool.NewEvent(pool.KindProjectPut, &pool.Project{Name: "web"})
	project.ID, project.Actor = "e2", "ada"
	_, _ = ledger.Append(ctx, 1, project)

	log := &audit.Log{History: audit.Of(ledger)}
	_ = log.Follow(ctx)
	head, _ := log.Head()
	head.Time = time.Date(2026, 11, 29, 8, 30, 0, 0, time.UTC)
	key := ed25519.NewKeyFromSeed([]byte("32 bytes that are not really rnd"))
	signed, _ := audit.Sign(head, key)
	fmt.Println(strings.SplitN(string(signed), "\n", 2)[0])

	leaf, event, _ := log.Find(ctx, audit.Position{Revision: 2})
	path, _ := log.Inclusion(ctx, leaf, head.Size)
	file, err := json.Marshal(&audit.Evidence{Event: event, Leaf: leaf, Path: path, Head: signed})
	fmt.Println(err)

	var shown audit.Evidence
	fmt.Println(json.Unmarshal(file, &shown))
	at, err := shown.Verify(audit.Key{Ledger: "FIRST", Public: key.Public().(ed25519.PublicKey)})
	fmt.Println(shown.Event.Actor, shown.Event.Kind, "in", at.Size, "events of", at.Ledger, err)
	// Output:
	// berthage/ledger/FIRST
	// <nil>
	// <nil>
	// ada project.put in 2 events of FIRST <nil>
}
