package pool

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"hash"
	"io"
	"iter"
	"slices"
	"time"
)

// Snapshot is a State at one revision, to be written while the State goes on: what Ledger.Compact stores and
// a start reads in place of the history before it.
//
// It holds what is personal, the guests' logins, keys, user-data and addresses, as far as the State has not
// been told by KindForgotten that it is forgotten. Ledger.Forget alone reaches neither a State nor a
// snapshot.
type Snapshot struct{ s State }

// Snapshot returns the State as it is now. Its cost grows with the hosts and instances that there are, and
// next to nothing with those that have ended. The State may go on at once, in another goroutine too.
func (s *State) Snapshot() *Snapshot {
	return &Snapshot{State{
		identity: s.identity, holder: s.holder, epoch: s.epoch, head: s.head, time: s.time,
		hosts: s.hosts.clone(), removed: s.removed.clone(), instances: s.instances.clone(),
		ended: s.ended.frozen(), held: s.held.clone(), images: s.images.clone(),
		flavors: s.flavors.clone(), projects: s.projects.clone(), clusters: s.clusters.clone(), totals: s.totals.clone(), parts: s.parts,
	}}
}

// Revision returns the head of the State that it was taken of.
func (s *Snapshot) Revision() Revision { return s.s.head }

// The form of a snapshot: a line with its version, frames, and the SHA-256 of all before it. A frame is one
// byte for what it holds, the length of that as an unsigned varint, and that: a record as JSON, or a number of
// tombstones. The kinds of frame follow each other in the order below, those of a kind by key, tombstones in
// the order in which they came about; so that the same State is the same bytes.
const (
	snapshotMagic   = "berthage snapshot "
	snapshotVersion = "1"
	partsVersion    = "2" // of one with parts that know something
)

const (
	frameState    byte = 'S' // savedState
	frameHost     byte = 'H' // savedHost
	frameRemoved  byte = 'R' // savedRemoval
	frameImage    byte = 'M' // Image
	frameFlavor   byte = 'F' // Flavor
	frameProject  byte = 'P' // savedProject
	frameCluster  byte = 'C' // Cluster
	frameInstance byte = 'I' // savedInstance
	frameHeld     byte = 'L' // Held
	frameEnded    byte = 'E' // up to partGraves tombstones, see appendGrave
	framePart     byte = 'X' // savedPart, of version 2
	frameEnd      byte = '.' // nothing
)

const frameOrder = string(frameState) + string(frameHost) + string(frameRemoved) + string(frameImage) + string(frameFlavor) +
	string(frameProject) + string(frameCluster) + string(frameInstance) + string(frameHeld) + string(frameEnded) + string(framePart) + string(frameEnd)

// maxFrame is the most bytes of a frame. A record is made of a few events, each at most MaxBatch; a Part is one frame.
const maxFrame = 256 << 20

type savedState struct {
	Ledger      string        `json:"ledger,omitempty"`
	Former      []savedEra    `json:"former,omitempty"`
	Unconfirmed bool          `json:"unconfirmed,omitempty"`
	Holder      string        `json:"holder,omitempty"`
	Epoch       int64         `json:"epoch"`
	Head        Revision      `json:"head"`
	Time        time.Time     `json:"time"`
	Totals      map[Class]Sum `json:"totals"`
}

type savedEra struct {
	Ledger string             `json:"ledger"`
	Last   Revision           `json:"last"`
	Placed map[InstanceID]int `json:"placed"`
}

type savedHost struct {
	Host       Host             `json:"host"`
	Reason     string           `json:"reason,omitempty"`
	Cold       bool             `json:"cold,omitempty"`
	Proof      string           `json:"proof,omitempty"`
	Used       Resources        `json:"used"`
	DeviceUsed map[string]int64 `json:"device_used,omitempty"`
	Full       map[string]Full  `json:"full,omitempty"`
	Placed     int              `json:"placed"`
	Held       int              `json:"held,omitempty"`
	Changed    Revision         `json:"changed"`
}

type savedRemoval struct {
	Host HostID   `json:"host"`
	At   Revision `json:"at"`
}

type savedProject struct {
	Project
	Used    Resources `json:"used"`
	Members int       `json:"members"`
	Changed Revision  `json:"changed"`
}

// savedInstance says of a member of a cluster what it shares with it: user-data stands once in a snapshot.
type savedInstance struct {
	Instance
	Shares string `json:"shares,omitempty"`
}

const (
	sharesSpec  = "spec"  // Spec and Image, Guest included
	sharesGuest = "guest" // of Spec, Guest alone
)

// WriteTo implements io.WriterTo. The errors are w's.
func (s *Snapshot) WriteTo(w io.Writer) (int64, error) {
	out := &snapshotWriter{sum: sha256.New()}
	counted := &countingWriter{w: w}
	buffered := bufio.NewWriterSize(counted, 64<<10)
	out.w = io.MultiWriter(buffered, out.sum)
	err := s.write(out)
	if err == nil {
		_, err = buffered.Write(out.sum.Sum(nil))
	}
	if err == nil {
		err = buffered.Flush()
	}
	return counted.n, err
}

// Bytes returns the snapshot as what Ledger.Compact takes.
func (s *Snapshot) Bytes() ([]byte, error) {
	var b bytes.Buffer
	_, err := s.WriteTo(&b)
	return b.Bytes(), err
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

type snapshotWriter struct {
	w   io.Writer
	sum hash.Hash
}

func (w *snapshotWriter) frame(kind byte, payload []byte) error {
	if len(payload) > maxFrame {
		return &Error{Op: "write a snapshot", Kind: ErrOverflow, Want: "records of at most 256 MiB"}
	}
	_, err := w.w.Write(binary.AppendUvarint([]byte{kind}, uint64(len(payload))))
	if err == nil {
		_, err = w.w.Write(payload)
	}
	return err
}

func (w *snapshotWriter) record(kind byte, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return w.frame(kind, b)
}

// sorted yields the entries of a table by key.
func sorted[K cmp.Ordered, V any](t *table[K, V]) iter.Seq2[K, V] {
	keys := make([]K, 0, t.n)
	for k := range t.all() {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return func(yield func(K, V) bool) {
		for _, k := range keys {
			if v, _ := t.get(k); !yield(k, v) {
				return
			}
		}
	}
}

func (s *Snapshot) write(w *snapshotWriter) error {
	st := &s.s
	parts, err := s.savedParts()
	if err != nil {
		return err
	}
	version := snapshotVersion
	if len(parts) > 0 {
		version = partsVersion
	}
	if _, err := io.WriteString(w.w, snapshotMagic+version+"\n"); err != nil {
		return err
	}
	saved := savedState{
		Ledger: st.identity.name, Unconfirmed: st.identity.unconfirmed,
		Holder: st.holder, Epoch: st.epoch, Head: st.head, Time: st.time.UTC(), Totals: st.Totals(),
	}
	for _, f := range st.identity.former {
		saved.Former = append(saved.Former, savedEra{f.ledger, f.last, f.placed})
	}
	if err := w.record(frameState, saved); err != nil {
		return err
	}
	for _, h := range sorted(&st.hosts) {
		r := savedHost{h.Host, h.Reason, h.Cold, h.Proof, h.Used, h.DeviceUsed, h.Full, h.Placed, h.Held, h.Changed}
		if err := w.record(frameHost, r); err != nil {
			return err
		}
	}
	for id, at := range sorted(&st.removed) {
		if err := w.record(frameRemoved, savedRemoval{id, at}); err != nil {
			return err
		}
	}
	if err := records(w, frameImage, &st.images); err != nil {
		return err
	}
	if err := records(w, frameFlavor, &st.flavors); err != nil {
		return err
	}
	for _, p := range sorted(&st.projects) {
		if err := w.record(frameProject, savedProject{p.Project, p.Used, p.Members, p.Changed}); err != nil {
			return err
		}
	}
	if err := records(w, frameCluster, &st.clusters); err != nil {
		return err
	}
	for _, i := range sorted(&st.instances) {
		r, err := st.saved(i)
		if err == nil {
			err = w.record(frameInstance, r)
		}
		if err != nil {
			return err
		}
	}
	if err := records(w, frameHeld, &st.held); err != nil {
		return err
	}
	if err := s.writeEnded(w); err != nil {
		return err
	}
	for _, p := range parts {
		if err := w.record(framePart, p); err != nil {
			return err
		}
	}
	return w.frame(frameEnd, nil)
}

func records[K cmp.Ordered, V any](w *snapshotWriter, kind byte, t *table[K, V]) error {
	for _, v := range sorted(t) {
		if err := w.record(kind, v); err != nil {
			return err
		}
	}
	return nil
}

// saved leaves out of an instance what its cluster has. It compares what is written, so that a State that was
// read is written as it was.
func (s *State) saved(i *Instance) (savedInstance, error) {
	r := savedInstance{Instance: *i}
	c, ok := s.clusters.get(i.Cluster)
	if !ok || !i.Spec.Guest.equal(c.Spec.Guest) {
		return r, nil
	}
	a, b := i.Spec, c.Spec
	a.Guest, b.Guest = Guest{}, Guest{}
	same, err := sameJSON(a, b)
	if err == nil && same {
		same, err = sameJSON(i.Image, c.Image)
	}
	if err != nil {
		return r, err
	}
	r.Spec, r.Shares = a, sharesGuest
	if same {
		r.Spec, r.Image, r.Shares = Spec{}, Image{}, sharesSpec
	}
	return r, nil
}

func sameJSON(a, b any) (bool, error) {
	x, err := json.Marshal(a)
	if err != nil {
		return false, err
	}
	y, err := json.Marshal(b)
	return bytes.Equal(x, y), err
}

func (g Guest) equal(o Guest) bool {
	return g.User == o.User && g.UserData == o.UserData && slices.Equal(g.SSHKeys, o.SSHKeys)
}

// writeEnded writes the tombstones.
func (s *Snapshot) writeEnded(w *snapshotWriter) error {
	var b []byte
	var last Revision
	n := 0
	for g := range s.s.ended.all() {
		b = appendGrave(b, g, last)
		last = g.Ended
		if n++; n%partGraves == 0 {
			if err := w.frame(frameEnded, b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	if len(b) == 0 {
		return nil
	}
	return w.frame(frameEnded, b)
}

// appendGrave appends a tombstone: the packed id as two 8-byte numbers and a character, the revision of its end
// as what it is beyond the one before, and how many revisions it has lived. That is about 20 bytes.
func appendGrave(b []byte, g grave, last Revision) []byte {
	b = binary.BigEndian.AppendUint64(b, g.id.high)
	b = binary.BigEndian.AppendUint64(b, g.id.low)
	b = append(b, g.id.last)
	b = binary.AppendVarint(b, int64(g.Ended-last))
	return binary.AppendVarint(b, int64(g.Ended-g.Launched))
}
