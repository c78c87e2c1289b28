package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
)

func problemType() reflect.Type { return reflect.TypeFor[problem.Problem]() }

// Paging are the parameters of lists.
type Paging struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"At most so many items"`
	Cursor string `query:"cursor" maxLength:"1024" doc:"As the previous page's next gave it"`
}

// Changes narrow a list to what a client does not know yet.
type Changes struct {
	Since int64 `query:"changed_after" minimum:"0" doc:"Only records changed after this revision"`
}

// Page is one page of a list.
type Page[T any] struct {
	Revision int64  `json:"revision" doc:"Of the books that this page shows"`
	Total    int    `json:"total" doc:"Items on all pages"`
	Items    []T    `json:"items" nullable:"false"`
	Next     string `json:"next,omitempty" doc:"Cursor of the next page; absent on the last one"`
}

// pageOutput carries a page and the headers that go with it.
type pageOutput[T any] struct {
	ETag string `header:"ETag" doc:"Changes when the books change"`
	Link string `header:"Link" doc:"The next page, as in RFC 8288"`
	Body Page[T]
}

// paginate returns the page that starts after the cursor. Items must be sorted by key, and convert makes of
// each record what is shown, for those of the page only.
func paginate[R, T any](p Paging, u *url.URL, rev pool.Revision, records []R, key func(R) string, convert func(R) T) (*pageOutput[T], error) {
	after, err := base64.RawURLEncoding.DecodeString(p.Cursor)
	if err != nil {
		return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "cursor", Want: "the next of the previous page"}
	}
	out := &pageOutput[T]{Body: Page[T]{Revision: int64(rev), Total: len(records), Items: []T{}}}
	for _, r := range records {
		if len(after) > 0 && key(r) <= string(after) {
			continue
		}
		if len(out.Body.Items) == p.Limit {
			break
		}
		out.Body.Items = append(out.Body.Items, convert(r))
		out.Body.Next = key(r)
	}
	if n := len(records); n == 0 || len(out.Body.Items) == 0 || out.Body.Next == key(records[n-1]) {
		out.Body.Next = ""
		return out, nil
	}
	out.Body.Next = base64.RawURLEncoding.EncodeToString([]byte(out.Body.Next))
	q := u.Query()
	q.Set("cursor", out.Body.Next)
	out.Link = "<" + u.Path + "?" + q.Encode() + `>; rel="next"`
	return out, nil
}

// Conditional lets a client ask only for what it does not have.
type Conditional struct {
	IfNoneMatch string `header:"If-None-Match" maxLength:"255" doc:"ETag of what you have: 304 if it is still so"`
}

// unchanged is the answer to a request that has the present version already. It is an error only in form.
type unchanged struct{ etag string }

func (u unchanged) Error() string  { return "not modified" }
func (u unchanged) GetStatus() int { return http.StatusNotModified }
func (u unchanged) GetHeaders() http.Header {
	return http.Header{"Etag": {u.etag}}
}

// etag names a revision of a ledger.
func etag(ledger string, rev pool.Revision) string {
	return `W/"` + ledger[:min(8, len(ledger))] + "-" + strconv.FormatInt(int64(rev), 10) + `"`
}

func (c Conditional) check(tag string) error {
	if c.IfNoneMatch == tag || c.IfNoneMatch == "*" {
		return unchanged{tag}
	}
	return nil
}

// Matching lets a client change only what it has seen.
type Matching struct {
	IfMatch string `header:"If-Match" maxLength:"1024" doc:"ETag of what you have seen: 412, and nothing is done, if it is another by now. Absent: whatever it is"`
}

// check refuses what is to be done to another version than the one of that tag, which is a strong one.
func (m Matching) check(tag string) error {
	if m.IfMatch == "" || strings.TrimSpace(m.IfMatch) == "*" {
		return nil
	}
	for one := range strings.SplitSeq(m.IfMatch, ",") {
		if strings.TrimSpace(one) == tag {
			return nil
		}
	}
	return problem.Changed.New("what you have seen is not what there is: get it again, and decide anew")
}

// contentTag is the strong tag of what is shown as b.
func contentTag(b []byte) string {
	sum := sha256.Sum256(b)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}
