package detect

import (
	"cmp"
	"encoding/json"
	"math/bits"
	"time"
)

// KOfN is another method that speaks up only when it finds samples outside repeatedly: at least K of the last N that it
// judged, the newest included. Verdicts are those of the other method but for Outside.
type KOfN struct {
	K, N int // zero means 1; at most 64, and K at most N
	Of   Method
}

// New makes a detector. Besides what Of refuses it refuses to be without one.
func (p KOfN) New() (Detector, error) {
	p.K, p.N = cmp.Or(p.K, 1), cmp.Or(p.N, 1)
	c := checks{op: "kofn"}
	c.count("n", p.N, 1, 64)
	c.count("k", p.K, 1, p.N)
	if p.Of == nil {
		c.fail("of", "", "a method")
	}
	if c.err != nil {
		return nil, c.err
	}
	of, err := p.Of.New()
	if err != nil {
		return nil, err
	}
	return &kOfN{k: p.K, n: p.N, of: of}, nil
}

type kOfN struct {
	k, n    int
	of      Detector
	outside uint64 // a bit for each sample, the newest lowest
}

// Observe implements Detector.
func (d *kOfN) Observe(t time.Time, v float64) Verdict {
	r := d.of.Observe(t, v)
	if !r.Enough {
		return r
	}
	d.outside = d.outside << 1 & (1<<d.n - 1)
	if r.Outside {
		d.outside |= 1
	}
	r.Outside = bits.OnesCount64(d.outside) >= d.k
	return r
}

type kOfNState struct {
	K, N    int
	Outside uint64
	Of      json.RawMessage
}

// MarshalJSON writes the state of both.
func (d *kOfN) MarshalJSON() ([]byte, error) {
	of, err := json.Marshal(d.of)
	if err != nil {
		return nil, err
	}
	return json.Marshal(kOfNState{d.k, d.n, d.outside, of})
}

// UnmarshalJSON reads a state that a detector with the same parameters has written.
func (d *kOfN) UnmarshalJSON(b []byte) error {
	var s kOfNState
	bad := &Error{Op: "kofn", Kind: ErrInvalid, Field: "state", Want: "that of a detector with the same parameters"}
	if bad.Cause = json.Unmarshal(b, &s); bad.Cause != nil || s.K != d.k || s.N != d.n || s.Outside&^(1<<d.n-1) != 0 || s.Of == nil {
		return bad
	}
	if err := json.Unmarshal(s.Of, d.of); err != nil {
		return err
	}
	d.outside = s.Outside
	return nil
}
