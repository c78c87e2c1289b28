package pool_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
)

// notes is a part that keeps texts by name, some of which are somebody's own.
type notes struct {
	name string
	kept map[string]note
}

type note struct {
	Name    string `json:"name"`
	Text    string `json:"text"`
	Subject string `json:"subject,omitempty"`
}

func (n notes) Name() string { return n.name }

func (n notes) Fold(e *pool.Event) (pool.Part, error) {
	kept := make(map[string]note)
	for k, v := range n.kept {
		if e.Kind != pool.KindForgotten || v.Subject != "alice" {
			kept[k] = v
		}
	}
	switch e.Kind {
	case pool.KindForgotten:
	case n.name + ".put":
		var v note
		if err := json.Unmarshal(e.Data, &v); err != nil || v.Name == "" {
			return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "name"}
		}
		kept[v.Name] = v
	default:
		return nil, &pool.Error{Kind: pool.ErrUnknownKind, Value: e.Kind}
	}
	return notes{n.name, kept}, nil
}

func (n notes) Save() ([]byte, error) {
	if len(n.kept) == 0 {
		return nil, nil
	}
	return json.Marshal(n.kept)
}

func (n notes) Load(b []byte) (pool.Part, error) {
	err := json.Unmarshal(b, &n.kept)
	return n, err
}

func texts(t *testing.T, s *pool.State, part string) map[string]note {
	t.Helper()
	p, ok := s.Part(part)
	require.True(t, ok)
	return p.(notes).kept
}

func TestParts(t *testing.T) {
	t.Parallel()
	revision := pool.Revision(0)
	apply := func(s *pool.State, kind string, data any) error {
		e, err := pool.PartEvent(kind, 1, data)
		require.NoError(t, err)
		revision++
		e.Revision, e.Time = revision, time.Unix(int64(revision), 0)
		return s.Apply(&e)
	}
	s, plain := pool.NewState(notes{name: "other"}, notes{name: "note"}), pool.NewState()
	require.NoError(t, apply(s, pool.KindOpened, pool.Opened{Ledger: "l"}))
	revision--
	require.NoError(t, apply(plain, pool.KindOpened, pool.Opened{Ledger: "l"}))
	require.Equal(t, snapshot(t, plain), snapshot(t, s), "parts that know nothing leave no trace")
	require.NoError(t, apply(s, "note.put", note{"a", "first", "alice"}))
	require.NoError(t, apply(s, "other.put", note{Name: "b", Text: "elsewhere"}))
	require.Equal(t, map[string]note{"a": {"a", "first", "alice"}}, texts(t, s, "note"))
	require.Len(t, texts(t, s, "other"), 1)
	_, ok := s.Part("none")
	require.False(t, ok)

	// An overlay keeps what it folds to itself until it is absorbed.
	clone := s.Clone()
	over := s.Overlay()
	require.NoError(t, apply(over, "note.put", note{Name: "c", Text: "later"}))
	require.Len(t, texts(t, over, "note"), 2)
	require.Len(t, texts(t, s, "note"), 1)
	s.Absorb(over)
	require.Len(t, texts(t, s, "note"), 2)
	require.Len(t, texts(t, clone, "note"), 1)

	// An event that a part refuses leaves no trace; one that it does not know is of a newer program.
	before := snapshot(t, s)
	require.ErrorIs(t, apply(s, "note.put", note{}), pool.ErrInvalid)
	require.Equal(t, before, snapshot(t, s))
	require.ErrorIs(t, apply(s, "note.burnt", note{}), pool.ErrUnknownKind)
	require.Equal(t, revision, s.Head())
	require.ErrorIs(t, apply(s, "notes.put", note{Name: "x"}), pool.ErrUnknownKind, "another part's name may begin like this one's")

	// A snapshot has the parts, and is the same bytes again. Whoever lacks one cannot follow.
	b := snapshot(t, s)
	back, err := pool.ReadSnapshot(bytes.NewReader(b), notes{name: "note"}, notes{name: "other"})
	require.NoError(t, err)
	require.Equal(t, texts(t, s, "note"), texts(t, back, "note"))
	require.Equal(t, b, snapshot(t, back))
	_, err = pool.ReadSnapshot(bytes.NewReader(b), notes{name: "note"})
	require.ErrorIs(t, err, pool.ErrUnknownKind)
	more, err := pool.ReadSnapshot(bytes.NewReader(b), notes{name: "note"}, notes{name: "other"}, notes{name: "third"})
	require.NoError(t, err)
	require.Empty(t, texts(t, more, "third"))

	require.NoError(t, apply(s, pool.KindForgotten, pool.Forgotten{Subject: "alice"}))
	require.NotContains(t, texts(t, s, "note"), "a")
	require.Contains(t, texts(t, s, "note"), "c")
}

// What a part reads is one value, with nothing in it that would be lost.
func TestPartData(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		`{"n":1}`: true, " {\"n\":1}\n": true, `{"n":1,"m":2}`: false, `{"n":1}{"n":2}`: false, `{"n":1} x`: false, `{"n":1`: false, `{"n":"1"}`: false, ``: false,
	} {
		var v struct{ N int }
		err := pool.PartData([]byte(text), &v)
		if ok {
			require.NoError(t, err, text)
			require.Equal(t, 1, v.N)
			continue
		}
		require.ErrorIs(t, err, pool.ErrInvalid, text)
	}
}
