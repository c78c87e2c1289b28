package pool

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"maps"
	"slices"
	"strings"
)

// ReadSnapshot returns the State of which a snapshot was written, with the given parts as it has them; one that it does not
// have knows nothing. A snapshot of a version that this program does not know, or with a part that is not given, is ErrUnknownKind; one that is not what was written, or whose records contradict each other, is
// ErrCorrupt. Sums are computed anew and compared with those that were written. Beyond the State it needs the
// memory of one record.
func ReadSnapshot(r io.Reader, parts ...Part) (*State, error) {
	l := &loading{
		r: bufio.NewReaderSize(r, 64<<10), sum: sha256.New(), s: NewState(parts...),
		derived: make(map[HostID]*derivedHost), projects: make(map[string]*derivedProject), members: make(map[ClusterID][]int),
	}
	if err := l.load(); err != nil {
		var e *Error
		if errors.As(err, &e) && e.Op == "" && (e.Kind == ErrCorrupt || e.Kind == ErrUnknownKind || e.Kind == ErrUnavailable) {
			e.Op = "read a snapshot"
			return nil, e
		}
		return nil, &Error{Op: "read a snapshot", Kind: ErrCorrupt, Cause: err}
	}
	return l.s, nil
}

// loading is a snapshot that is being read.
type loading struct {
	r    *bufio.Reader
	sum  hash.Hash
	b    bytes.Buffer // of the present frame
	s    *State
	last struct { // of the present kind
		kind  int // in frameOrder
		key   string
		any   bool // there was one
		keyed bool // of the present kind too
	}
	totals   map[Class]Sum
	ended    Revision // of the last tombstone
	derived  map[HostID]*derivedHost
	projects map[string]*derivedProject
	members  map[ClusterID][]int
}

// derivedHost and derivedProject are what the records of instances say of others.
type derivedHost struct {
	used         Resources
	devices      map[string]int64
	gpus         []GPULoad
	placed, held int
	peers        []Peers
}

type derivedProject struct {
	used    Resources
	members int
}

func corruptSnapshot(where, want string) error {
	return &Error{Kind: ErrCorrupt, Field: where, Want: want}
}

func (l *loading) load() error {
	line, err := l.r.ReadSlice('\n')
	version, ok := strings.CutPrefix(strings.TrimSuffix(string(line), "\n"), snapshotMagic)
	switch {
	case err != nil && !errors.Is(err, bufio.ErrBufferFull):
		return l.failed(err)
	case !ok || err != nil || len(version) > 16:
		return corruptSnapshot("beginning", "a snapshot")
	case version != snapshotVersion && version != partsVersion:
		return &Error{Kind: ErrUnknownKind, Field: "version", Value: version, Want: snapshotVersion + " or " + partsVersion + "; written by another version of this program"}
	}
	l.sum.Write(line)
	for {
		kind, err := l.frame()
		if err != nil {
			return err
		}
		if kind == frameEnd {
			break
		}
		if err := l.record(kind, l.b.Bytes()); err != nil {
			return InField("frame "+Quote(string(kind))+" after "+Quote(l.last.key), err)
		}
	}
	want := l.sum.Sum(nil)
	var got [sha256.Size]byte
	if _, err := io.ReadFull(l.r, got[:]); err != nil {
		return l.failed(err)
	}
	if !bytes.Equal(got[:], want) {
		return corruptSnapshot("checksum", "that of what stands before it")
	}
	if _, err := l.r.ReadByte(); err != io.EOF {
		return corruptSnapshot("end", "nothing after the checksum")
	}
	return l.check()
}

// failed is the error of a read: of what is cut short, or of the reader itself.
func (l *loading) failed(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return corruptSnapshot("end", "a snapshot that is not cut short")
	}
	return &Error{Kind: ErrUnavailable, Cause: err}
}

// frame reads the next frame into b. The length that it claims is not believed before it has come.
func (l *loading) frame() (byte, error) {
	kind, err := l.r.ReadByte()
	if err != nil {
		return 0, l.failed(err)
	}
	at := strings.IndexByte(frameOrder, kind)
	one := at == 0 || kind == frameEnd
	if at < 0 || !l.last.any && at != 0 || l.last.any && (at < l.last.kind || one && at == l.last.kind) {
		return 0, corruptSnapshot("frame", "frames of known kinds in their order")
	}
	if !l.last.any || at != l.last.kind {
		l.last.kind, l.last.key, l.last.any, l.last.keyed = at, "", true, false
	}
	size, err := binary.ReadUvarint(l.r)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) || size > maxFrame || kind == frameEnd && size != 0 {
		return 0, corruptSnapshot("length", "at most 256 MiB")
	}
	if err != nil {
		return 0, l.failed(err)
	}
	l.b.Reset()
	n, err := io.CopyN(&l.b, l.r, int64(size))
	if err != nil || n != int64(size) {
		return 0, l.failed(err)
	}
	l.sum.Write(binary.AppendUvarint([]byte{kind}, size))
	l.sum.Write(l.b.Bytes())
	return kind, nil
}

// after checks that keys ascend, so that none comes twice.
func after[K ~string](l *loading, key K) error {
	if l.last.keyed && string(key) <= l.last.key {
		return corruptSnapshot("key "+Quote(string(key)), "keys that ascend")
	}
	l.last.key, l.last.keyed = string(key), true
	return nil
}

func decode[T any](b []byte) (*T, error) {
	v := new(T)
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return nil, &Error{Kind: ErrCorrupt, Cause: err}
	}
	if dec.InputOffset() != int64(len(b)) {
		return nil, corruptSnapshot("record", "one JSON value and nothing after it")
	}
	return v, nil
}

// loadRecord decodes a record, checks its key and hands it on.
func loadRecord[T any, K ~string](l *loading, b []byte, key func(*T) K, take func(*T) error) error {
	v, err := decode[T](b)
	if err != nil {
		return err
	}
	if err := after(l, key(v)); err != nil {
		return err
	}
	return take(v)
}

func (l *loading) record(kind byte, b []byte) error {
	s := l.s
	switch kind {
	case frameState:
		v, err := decode[savedState](b)
		if err != nil {
			return err
		}
		if v.Head < 0 {
			return corruptSnapshot("head", "a revision")
		}
		s.identity = identity{name: v.Ledger, unconfirmed: v.Unconfirmed}
		for _, f := range v.Former {
			s.identity.former = append(s.identity.former, era{f.Ledger, f.Last, f.Placed})
		}
		s.holder, s.epoch, s.head, s.time, l.totals = v.Holder, v.Epoch, v.Head, v.Time.UTC(), v.Totals
		return nil
	case frameHost:
		return loadRecord(l, b, func(v *savedHost) HostID { return v.Host.ID }, l.host)
	case frameRemoved:
		return loadRecord(l, b, func(v *savedRemoval) HostID { return v.Host }, func(v *savedRemoval) error {
			if _, there := s.hosts.get(v.Host); there {
				return corruptSnapshot("host", "one that is not there, since it has been removed")
			}
			s.removed.set(v.Host, v.At)
			return nil
		})
	case frameImage:
		return loadRecord(l, b, func(v *Image) string { return v.Name }, func(v *Image) error { s.images.set(v.Name, v); return nil })
	case frameFlavor:
		return loadRecord(l, b, func(v *Flavor) string { return v.Name }, func(v *Flavor) error { s.flavors.set(v.Name, v); return nil })
	case frameProject:
		return loadRecord(l, b, func(v *savedProject) string { return v.Name }, func(v *savedProject) error {
			l.projects[v.Name] = &derivedProject{used: make(Resources)}
			s.projects.set(v.Name, &ProjectRecord{Project: v.Project, Used: v.Used, Members: v.Members, Changed: v.Changed})
			return nil
		})
	case frameCluster:
		return loadRecord(l, b, func(v *Cluster) ClusterID { return v.ID }, func(v *Cluster) error { s.clusters.set(v.ID, v); return nil })
	case frameInstance:
		return loadRecord(l, b, func(v *savedInstance) InstanceID { return v.ID }, l.instance)
	case frameHeld:
		return loadRecord(l, b, func(v *Held) MachineID { return v.Machine }, l.held)
	case framePart:
		return loadRecord(l, b, func(v *savedPart) string { return v.Name }, l.part)
	}
	return l.tombstones(b)
}

func (l *loading) host(v *savedHost) error {
	h, err := v.Host.Normalize()
	if err != nil {
		return err
	}
	l.derived[h.ID] = &derivedHost{used: make(Resources), devices: make(map[string]int64)}
	l.s.hosts.set(h.ID, &HostRecord{
		Host: h, Reason: v.Reason, Cold: v.Cold, Proof: v.Proof, Capacity: h.Capacity(),
		Used: v.Used, DeviceUsed: v.DeviceUsed, Full: v.Full, Placed: v.Placed, Held: v.Held, Changed: v.Changed,
	})
	return nil
}

func (l *loading) instance(v *savedInstance) error {
	i := &v.Instance
	if err := i.ID.Valid(); err != nil {
		return err
	}
	c, ok := l.s.clusters.get(i.Cluster)
	if i.Cluster != "" && !ok {
		return notFound("cluster", string(i.Cluster))
	}
	switch {
	case v.Shares == sharesSpec && c != nil:
		i.Spec, i.Image = c.Spec, c.Image
	case v.Shares == sharesGuest && c != nil:
		i.Spec.Guest = c.Spec.Guest
	case v.Shares != "":
		return corruptSnapshot("shares", "spec or guest, of a member of a cluster")
	}
	p := l.projects[i.Project]
	if p == nil {
		return notFound("project", i.Project)
	}
	p.members++
	if c != nil {
		l.members[c.ID] = append(l.members[c.ID], i.Index)
	}
	if i.Placed() {
		if err := l.book(i.Place.Host, i.Place.Allocation); err != nil {
			return err
		}
		l.derived[i.Place.Host].come(i)
		if m := i.Move; m != nil {
			if err := l.book(m.Host, m.Allocation); err != nil {
				return err
			}
			l.derived[m.Host].come(i)
		}
		paid := charge{resources: i.Place.Allocation.Resources, sign: 1} // and what it costs later, see priced
		if err := paid.to(p.used); err != nil {
			return err
		}
		if i.Owner != "" {
			of := owned{i.Project, i.Owner}
			used, _ := l.s.owners.get(of)
			if used == nil {
				used = make(Resources)
				l.s.owners.set(of, used)
			}
			if err := paid.to(used); err != nil {
				return err
			}
		}
	}
	l.s.setInstance(nil, i)
	return nil
}

func (d *derivedHost) come(i *Instance) {
	d.placed++
	d.peers = meet(d.peers, i, 1)
}

func (l *loading) held(v *Held) error {
	if err := l.book(v.Host, v.Allocation); err != nil {
		return err
	}
	l.derived[v.Host].held++
	l.s.held.set(v.Machine, v)
	l.s.indexHeld(v)
	return nil
}

// book adds an allocation to what the records so far take of a host.
func (l *loading) book(id HostID, a Allocation) error {
	d := l.derived[id]
	if d == nil {
		return notFound("host", string(id))
	}
	if err := a.valid(); err != nil {
		return err
	}
	if err := d.used.sum(a.Resources); err != nil {
		return err
	}
	for _, c := range a.Claims {
		n, ok := addInt64(d.devices[c.Device], c.Amount)
		if !ok {
			return &Error{Kind: ErrOverflow, Field: "device", Value: c.Device}
		}
		d.devices[c.Device] = n
	}
	d.gpus = CountGPULoad(d.gpus, a.Resources, 1)
	return nil
}

// sum is Add in place.
func (r Resources) sum(o Resources) error {
	for c, n := range o {
		s, ok := addInt64(r[c], n)
		if !ok {
			return &Error{Kind: ErrOverflow, Field: c.field()}
		}
		r.put(c, s)
	}
	return nil
}

func (l *loading) tombstones(b []byte) error {
	for n := 0; len(b) > 0; n++ {
		if len(b) < 17 || n == partGraves {
			return corruptSnapshot("tombstones", "whole ones, at most 1024")
		}
		g := grave{id: packedID{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), b[16]}}
		b = b[17:]
		beyond, k := binary.Varint(b)
		if k <= 0 {
			return corruptSnapshot("tombstones", "whole ones")
		}
		b = b[k:]
		lived, k := binary.Varint(b)
		if k <= 0 {
			return corruptSnapshot("tombstones", "whole ones")
		}
		b = b[k:]
		g.Ended = l.ended + Revision(beyond)
		g.Launched, l.ended = g.Ended-Revision(lived), g.Ended
		if !g.id.valid() || l.s.ended.find(g.id) >= 0 {
			return corruptSnapshot("tombstone", "the id of an instance, once")
		}
		l.s.ended.add(g)
	}
	return nil
}

// check compares the sums that were written with those of the records, and sets those that are not written.
func (l *loading) check() error {
	for id, h := range l.s.hosts.all() {
		d := l.derived[id]
		switch {
		case !h.Used.Equal(d.used):
			return corruptSnapshot("host "+Quote(string(id)), "used: "+d.used.String())
		case !equalAmounts(h.DeviceUsed, d.devices):
			return corruptSnapshot("host "+Quote(string(id)), "devices used as its instances use them")
		case h.Placed != d.placed || h.Held != d.held:
			return corruptSnapshot("host "+Quote(string(id)), "as many instances and held allocations as name it")
		}
		h.Peers, h.GPULoads = d.peers, d.gpus // which are not written
		totals, err := l.s.totalsAfter([]hostChange{{new: h}}, nil)
		if err != nil {
			return err
		}
		l.s.setTotals(totals)
	}
	if !maps.Equal(l.totals, l.s.Totals()) {
		return corruptSnapshot("totals", "the sums of the hosts")
	}
	for id := range l.s.instances.all() {
		if _, ended := l.s.ended.get(id); ended {
			return corruptSnapshot("instance "+Quote(string(id)), "an instance that has not ended")
		}
	}
	if err := l.priced(); err != nil {
		return err
	}
	for name, p := range l.s.projects.all() {
		if d := l.projects[name]; !p.Used.Equal(d.used) || p.Members != d.members {
			return corruptSnapshot("project "+Quote(name), "used: "+d.used.String())
		}
	}
	if err := l.s.deriveProjects(); err != nil {
		return err
	}
	for id, c := range l.s.clusters.all() {
		slices.Sort(l.members[id])
		if !slices.Equal(c.Members, l.members[id]) {
			return corruptSnapshot("cluster "+Quote(string(id)), "the members that name it")
		}
	}
	return nil
}

// equalAmounts reports whether two maps of amounts are equal; absent and zero are the same.
func equalAmounts(a, b map[string]int64) bool {
	for k, n := range a {
		if b[k] != n {
			return false
		}
	}
	for k, n := range b {
		if a[k] != n {
			return false
		}
	}
	return true
}
