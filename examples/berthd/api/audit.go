package api

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/auth/audit"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/examples/berthd/trail"
	"github.com/berthage/berthage/pool"
)

// AuditEntry is one line of the audit log.
type AuditEntry struct {
	Event       string    `json:"event" doc:"Where it stands in the ledger: revision and index" example:"17.0"`
	ID          string    `json:"id" doc:"Of the event"`
	Kind        string    `json:"kind" doc:"Of the event; audit.command: from where a command came; audit.refusals: what was refused in a minute" example:"audit.command"`
	Time        time.Time `json:"time"`
	Actor       string    `json:"actor" doc:"Who; berthage for its own decisions"`
	From        string    `json:"from,omitempty" doc:"The client's address, of a command and until it is forgotten"`
	Action      string    `json:"action" doc:"Which operation, or the kind of the event" example:"launch-instance"`
	Target      string    `json:"target,omitempty" doc:"On what"`
	Decision    string    `json:"decision,omitempty" doc:"How it was decided that this may be done, or not"`
	Result      string    `json:"result" enum:"done,refused,failed"`
	Detail      string    `json:"detail,omitempty"`
	Correlation string    `json:"correlation,omitempty" doc:"The id of the request: a command and its events have the same"`
	Count       int64     `json:"count,omitempty" doc:"How often, where one entry stands for several"`
}

func auditEntry(e trail.Entry) AuditEntry {
	return AuditEntry{
		Event: e.Event.String(), ID: e.ID, Kind: e.Kind, Time: e.Time, Actor: e.Actor, From: e.From, Action: e.Action, Target: e.Target,
		Decision: e.Decision, Result: string(e.Result), Detail: e.Detail, Correlation: e.Correlation, Count: e.Count,
	}
}

// AuditPage is a page of the audit log.
type AuditPage struct {
	Revision int64        `json:"revision" doc:"Of the ledger"`
	Items    []AuditEntry `json:"items" nullable:"false" doc:"The newest first"`
	Next     string       `json:"next,omitempty" doc:"Cursor of the next page; absent on the last one. A page may have fewer items than asked for, even none, and a next: so far was looked"`
}

// AuditHead is what the ledger is at its end.
type AuditHead struct {
	Ledger      string    `json:"ledger"`
	Size        int64     `json:"size" doc:"Events"`
	Root        string    `json:"root" doc:"Of the Merkle tree over them (RFC 6962), in hexadecimal"`
	Revision    int64     `json:"revision"`
	Time        time.Time `json:"time"`
	Note        string    `json:"note,omitempty" doc:"The signed head, to be kept elsewhere; absent if the daemon has no key"`
	Keys        []string  `json:"keys,omitempty" doc:"The public keys that have signed it. Know them by another way: whoever has the daemon could show others"`
	Consistency []string  `json:"consistency,omitempty" doc:"The proof that this history begins with the first old_size events, in hexadecimal"`
}

type auditInput struct {
	Limit       int       `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"At most so many items"`
	Cursor      string    `query:"cursor" maxLength:"64" doc:"As the previous page's next gave it"`
	Actor       string    `query:"actor" maxLength:"255" doc:"Only what this one did"`
	Kind        string    `query:"kind" maxLength:"63" doc:"Only events of this kind, or of those that begin with it and a dot: audit for commands and refusals" example:"audit"`
	Correlation string    `query:"correlation" maxLength:"255" doc:"Only what belongs to this request"`
	From        time.Time `query:"from" doc:"Only what happened at this moment or later"`
	To          time.Time `query:"to" doc:"Only what happened before this moment"`
}

func (a *api) registerAudit() {
	register(a, reads(auth.Audit), nowhere, describe("read-audit", http.MethodGet, "/audit", "Audit", "Read the audit log",
		"The events of the ledger as entries, the newest first. Commands have one of their own, which says from where they came and how it was decided; what was refused has one for each minute and principal.", 422),
		func(ctx context.Context, in *auditInput) (*struct{ Body AuditPage }, error) {
			var before audit.Position
			if in.Cursor != "" {
				text, err := base64.RawURLEncoding.DecodeString(in.Cursor)
				if err == nil {
					before, err = audit.ParsePosition(string(text))
				}
				if err != nil {
					return nil, problem.From(&pool.Error{Kind: pool.ErrInvalid, Field: "cursor", Want: "the next of the previous page"})
				}
			}
			head := view(a.c.Manager, (*pool.State).Head)
			found, next, err := a.c.Trail.Entries(ctx, head, before, in.Limit,
				trail.Filter{Actor: in.Actor, Kind: in.Kind, Correlation: in.Correlation, From: in.From, Until: in.To})
			if err != nil {
				return nil, problem.From(err)
			}
			out := AuditPage{Revision: int64(head), Items: make([]AuditEntry, len(found))}
			for n, e := range found {
				out.Items[n] = auditEntry(e)
			}
			if next != nil {
				out.Next = base64.RawURLEncoding.EncodeToString([]byte(next.String()))
			}
			return &struct{ Body AuditPage }{out}, nil
		})
	register(a, reads(auth.Audit), nowhere, describe("get-audit-head", http.MethodGet, "/audit/head", "Audit", "What the ledger is, signed",
		"Size and root of the tree over all events, signed if the daemon has a key. Keep heads elsewhere: whoever has an earlier one can tell whether the history was changed.", 422),
		func(ctx context.Context, in *struct {
			OldSize int64 `query:"old_size" minimum:"0" doc:"Of a head that you have: the proof that this one goes on from there comes with it"`
		}) (*struct{ Body AuditHead }, error) {
			h, proof, err := a.c.Trail.Head(ctx, in.OldSize)
			if err != nil {
				return nil, problem.From(err)
			}
			out := AuditHead{Ledger: h.Ledger, Size: h.Size, Root: hex.EncodeToString(h.Root[:]), Revision: int64(h.Revision), Time: h.Time, Note: string(h.Note)}
			for _, k := range h.Keys {
				out.Keys = append(out.Keys, k.String())
			}
			for _, p := range proof {
				out.Consistency = append(out.Consistency, hex.EncodeToString(p[:]))
			}
			return &struct{ Body AuditHead }{out}, nil
		})
	op := describe("prove-event", http.MethodGet, "/audit/proof/{event}", "Audit", "Prove that an event stands in the ledger",
		"The event without its private part, its place in the tree and a signed head: berthd audit check reads it, without the ledger.", 404, 409, 422)
	op.Responses = map[string]*huma.Response{"200": {Description: "The evidence, as package audit has it", Content: map[string]*huma.MediaType{
		"application/json": {Schema: &huma.Schema{Type: "object"}},
	}}}
	register(a, reads(auth.Audit), nowhere, op, func(ctx context.Context, in *struct {
		Event string `path:"event" pattern:"^[0-9]{1,19}([.][0-9]{1,9})?$" doc:"Revision and index" example:"1.0"`
	}) (*struct {
		ContentType string `header:"Content-Type"`
		Body        []byte
	}, error) {
		at, err := audit.ParsePosition(in.Event)
		if err != nil {
			return nil, problem.From(err)
		}
		v, err := a.c.Trail.Evidence(ctx, at)
		if err != nil {
			return nil, problem.From(err)
		}
		b, err := json.MarshalIndent(v, "", "  ")
		return &struct {
			ContentType string `header:"Content-Type"`
			Body        []byte
		}{"application/json", append(b, '\n')}, err
	})
}
