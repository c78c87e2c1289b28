package fake

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// The file is a journal: one JSON object per line, each a host or a machine as it is from then on, or one
// that is gone. A line is written, not synced, before the call that caused it returns: it survives the death
// of the process, not of the computer. A last line without its end is one whose call never returned, and is
// dropped. When there is much more history than fleet, the file is written anew and renamed into place.

// entry is a line of the journal. What it says happens at once, in the order of the fields.
type entry struct {
	Version   int             `json:"version,omitempty"` // the first line
	Host      *hostEntry      `json:"host,omitempty"`
	GoneHost  pool.HostID     `json:"gone_host,omitempty"`
	Gone      *goneEntry      `json:"gone,omitempty"`
	Machine   *machine        `json:"machine,omitempty"`
	Shelved   *machine        `json:"shelved,omitempty"`
	Discarded *hypervisor.Tag `json:"discarded,omitempty"`
	Image     *image          `json:"image,omitempty"`
	GoneImage string          `json:"gone_image,omitempty"`
}

type hostEntry struct {
	pool.Host
	State HostState `json:"state"`
	Added time.Time `json:"added"`
}

type goneEntry struct {
	Host   pool.HostID `json:"host"`
	Native string      `json:"native"`
}

// version is that of the file's format. Files of version 1 have nothing shelved, those of version 2 no images and nothing
// hibernated; they are read too.
const version = 3

// journal is the open file.
type journal struct {
	file  *os.File
	size  int64 // of what is known to be whole
	lines int   // since it was written anew
}

func (j *journal) close() error {
	if j == nil {
		return nil
	}
	return j.file.Close()
}

// append writes lines at once. When that fails nothing of them stays.
func (j *journal) append(b []byte, lines int) error {
	n, err := j.file.WriteAt(b, j.size)
	if err != nil {
		if n > 0 {
			err = errors.Join(err, j.file.Truncate(j.size))
		}
		return err
	}
	j.size += int64(n)
	j.lines += lines
	return nil
}

// save writes what is about to change. It is called with the lock held and before the change.
func (d *Driver) save(entries ...entry) error {
	if d.journal == nil {
		return nil
	}
	if err := d.shorten(); err != nil {
		return fmt.Errorf("save the simulated fleet: %w", err)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for i := range entries {
		if err := enc.Encode(&entries[i]); err != nil {
			return fmt.Errorf("save the simulated fleet: %w", err)
		}
	}
	if err := d.journal.append(b.Bytes(), len(entries)); err != nil {
		return fmt.Errorf("save the simulated fleet: %w", err)
	}
	return nil
}

// load reads the file, if there is one, and opens it for what comes. It reports whether a fleet was found.
func (d *Driver) load() (found bool, err error) {
	fail := func(err error) (bool, error) {
		return false, &pool.Error{Op: "open the simulated fleet " + pool.Quote(d.config.Path), Kind: pool.ErrUnavailable, Cause: err}
	}
	b, err := os.ReadFile(d.config.Path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fail(err)
	}
	for line := 1; ; line++ {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			break
		}
		var e entry
		if err := json.Unmarshal(b[:end], &e); err != nil {
			return fail(fmt.Errorf("line %d: %w", line, err))
		}
		if line == 1 && (e.Version < 1 || e.Version > version) {
			return fail(fmt.Errorf("version %d, not %d", e.Version, version))
		}
		if err := d.restore(e); err != nil {
			return fail(fmt.Errorf("line %d: %w", line, err))
		}
		found, b = true, b[end+1:]
	}
	for _, h := range d.hosts {
		for _, m := range h.machines {
			d.runs(nil, m)
		}
	}
	d.doubles = nil // of before
	if err := d.rewrite(); err != nil {
		return fail(err)
	}
	return found, nil
}

// restore applies a line.
func (d *Driver) restore(e entry) error {
	if e.Host != nil {
		spec, err := e.Host.Normalize()
		if err != nil {
			return err
		}
		h := d.hosts[spec.ID]
		if h == nil {
			h = newHost(spec, e.Host.State, e.Host.Added)
			d.hosts[spec.ID] = h
		}
		h.spec, h.state = spec, e.Host.State
	}
	if e.GoneHost != "" {
		delete(d.hosts, e.GoneHost)
	}
	if e.Gone != nil {
		if h := d.hosts[e.Gone.Host]; h != nil {
			h.take(e.Gone.Native)
		}
	}
	if e.Machine != nil {
		h := d.hosts[e.Machine.Host]
		if h == nil {
			return errors.New("a machine on no host")
		}
		if err := e.Machine.valid(); err != nil {
			return err
		}
		d.number = max(d.number, e.Machine.Number+1)
		h.take(e.Machine.Native)
		if err := h.countable(e.Machine); err != nil {
			return err
		}
		h.put(e.Machine)
	}
	if e.Shelved != nil {
		if err := e.Shelved.valid(); err != nil {
			return err
		}
		d.number = max(d.number, e.Shelved.Number+1)
		d.shelf[e.Shelved.Tag] = e.Shelved
	}
	if e.Discarded != nil {
		delete(d.shelf, *e.Discarded)
	}
	if e.Image != nil {
		d.imported = append(d.imported, e.Image)
	}
	if e.GoneImage != "" {
		d.imported = slices.DeleteFunc(d.imported, func(i *image) bool { return i.Name == e.GoneImage })
	}
	return nil
}

// shorten writes the file anew when most of it is history.
func (d *Driver) shorten() error {
	if d.journal.lines < 1<<12 {
		return nil
	}
	live := 1 + len(d.shelf) + len(d.imported)
	for _, h := range d.hosts {
		live += 1 + len(h.machines)
	}
	if d.journal.lines < 4*live {
		return nil
	}
	return d.rewrite()
}

// rewrite writes the fleet as it is into a new file and puts that into the old one's place.
func (d *Driver) rewrite() error {
	dir := filepath.Dir(d.config.Path)
	f, err := os.CreateTemp(dir, filepath.Base(d.config.Path)+".*")
	if err != nil {
		return err
	}
	lines, err := d.writeAll(f)
	if err == nil {
		err = f.Sync() // or the rename could be on the disk before what it names
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	// Some systems do not rename onto an open file.
	old := d.journal
	if err := old.close(); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), d.config.Path); err != nil {
		return errors.Join(err, os.Remove(f.Name()), d.reopen(old))
	}
	return d.reopen(&journal{lines: lines})
}

// reopen opens the file to write behind what is there.
func (d *Driver) reopen(j *journal) error {
	if j == nil {
		return nil
	}
	f, err := os.OpenFile(d.config.Path, os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	at, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	d.journal = &journal{file: f, size: at, lines: j.lines}
	return nil
}

// writeAll writes the fleet and returns the number of lines.
func (d *Driver) writeAll(w io.Writer) (lines int, err error) {
	b := bufio.NewWriter(w)
	enc := json.NewEncoder(b)
	put := func(e entry) {
		if err == nil {
			err = enc.Encode(&e)
			lines++
		}
	}
	put(entry{Version: version})
	for _, h := range d.hosts {
		put(entry{Host: &hostEntry{h.spec, h.state, h.added}})
		for _, m := range h.machines {
			put(entry{Machine: m})
		}
	}
	for _, m := range d.shelf {
		put(entry{Shelved: m})
	}
	for _, i := range d.imported {
		put(entry{Image: i})
	}
	return lines, errors.Join(err, b.Flush())
}
