package libvirt

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/internal/inturn"
	"github.com/berthage/berthage/pool"
)

// source is a parsed image source.
type source struct {
	pool, volume string // an existing volume; an empty pool is that of the root disk
	file         string // or a file of this machine
}

// parseSource reads the forms that the package's documentation names.
func parseSource(text string) (source, error) {
	bad := func(want string) (source, error) { return source{}, invalid("source", text, want) }
	if pool.ValidText(text, 4096) != nil {
		return bad("one line of printable text")
	}
	if name, ok := strings.CutPrefix(text, "volume:"); ok {
		poolName, volume, both := strings.Cut(name, "/")
		if !both {
			poolName, volume = "", name
		}
		if volume == "" || both && poolName == "" || strings.Contains(volume, "/") {
			return bad("volume:NAME or volume:POOL/NAME")
		}
		return source{pool: poolName, volume: volume}, nil
	}
	file := strings.TrimPrefix(text, "file:")
	if !filepath.IsAbs(file) {
		return bad("volume:NAME, volume:POOL/NAME, or the absolute path of an image file")
	}
	return source{file: filepath.Clean(file)}, nil
}

// image is what a root disk lies on.
type image struct {
	path   string // on the host
	format string
	size   int64 // that the guest would see, bytes
}

// image returns the image on the host, having imported it into the storage pool where it is a file.
func (d *Driver) image(s *session, src source, poolName string) (image, error) {
	if src.file == "" {
		return s.existing(src, poolName)
	}
	if !s.c.offers.uploads {
		return image{}, refuse(hypervisor.ErrRefused, errors.New("the host takes no uploads; name an image that it has, as volume:NAME"))
	}
	f, err := d.images.look(s.ctx, src.file)
	if err != nil {
		return image{}, err
	}
	path, err := s.imported(f, poolName)
	return image{path, f.format, f.size}, err
}

// existing looks at a volume that is there.
func (s *session) existing(src source, poolName string) (image, error) {
	name := orDefault(src.pool, poolName)
	text, err := read(s, func(api *lv.Libvirt) (string, error) {
		p, err := api.StoragePoolLookupByName(name)
		if err != nil {
			return "", err
		}
		vol, err := api.StorageVolLookupByName(p, src.volume)
		if err != nil {
			return "", err
		}
		return api.StorageVolGetXMLDesc(vol, 0)
	})
	if err != nil {
		return image{}, fmt.Errorf("image %s: %w", pool.Quote(name+"/"+src.volume), err)
	}
	var v volumeXML
	if err := parse("image", text, &v); err != nil {
		return image{}, err
	}
	return image{v.Target.Path, v.Target.Format.Type, v.Capacity.Value}, nil
}

// imageFile is an image file of this machine.
type imageFile struct {
	path     string
	bytes    int64 // of the file
	modified time.Time
	hash     string // SHA-256 of the file
	format   string
	size     int64 // that a guest would see

	dir string // that it has to be in; empty: anywhere
}

// open opens the file, in its directory or not at all.
func (f imageFile) open() (*os.File, error) {
	if f.dir == "" {
		return os.Open(f.path)
	}
	inside, err := filepath.Rel(f.dir, f.path)
	if err != nil {
		return nil, err
	}
	return os.OpenInRoot(f.dir, inside)
}

// images remembers what has been found out of image files, so that they are read once and not for every machine.
type images struct {
	dir   string // in which files have to be; empty: anywhere
	turns inturn.Keys[string]
	mu    sync.Mutex
	known map[string]imageFile
}

// look opens and hashes an image file, unless it is known and unchanged.
func (m *images) look(ctx context.Context, path string) (imageFile, error) {
	done, err := m.turns.Take(ctx, path)
	if err != nil {
		return imageFile{}, err
	}
	defer done()
	fail := func(err error) (imageFile, error) {
		return imageFile{}, refuse(hypervisor.ErrRefused, fmt.Errorf("image file: %w", err))
	}
	file := imageFile{path: path, dir: m.dir}
	f, err := file.open()
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fail(err)
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return fail(fmt.Errorf("%s is empty or no file", path))
	}
	m.mu.Lock()
	known, ok := m.known[path]
	m.mu.Unlock()
	if ok && known.bytes == info.Size() && known.modified.Equal(info.ModTime()) {
		return known, nil
	}
	file.bytes, file.modified = info.Size(), info.ModTime()
	if file.format, file.size, err = probeImage(f, info.Size()); err != nil {
		return fail(fmt.Errorf("%s: %w", path, err))
	}
	h := sha256.New()
	if _, err := io.Copy(h, &bounding{ctx, f}); err != nil {
		if ctx.Err() != nil {
			return imageFile{}, ctx.Err()
		}
		return fail(err)
	}
	file.hash = hex.EncodeToString(h.Sum(nil))
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known = make(map[string]imageFile)
	}
	m.known[path] = file
	return file, nil
}

// bounding is a reader that ends with its context.
type bounding struct {
	ctx context.Context
	r   io.Reader
}

func (b *bounding) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.r.Read(p)
}

// probeImage tells the format of an image and the size that a guest would see, and leaves r at its beginning.
// A qcow2 image must be whole: one that names another file would let the host open whatever that names.
func probeImage(r io.ReadSeeker, length int64) (format string, size int64, err error) {
	head := make([]byte, 104) // version 3 of docs/interop/qcow2.txt of QEMU
	n, err := io.ReadFull(r, head)
	if err != nil && err != io.ErrUnexpectedEOF {
		return "", 0, err
	}
	head = head[:n]
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return "", 0, err
	}
	for magic, what := range map[string]string{
		"\x1f\x8b": "gzip", "\xfd7zXZ": "xz", "\x28\xb5\x2f\xfd": "zstd", "BZh": "bzip2", "PK\x03\x04": "zip",
		"KDMV": "VMDK", "vhdxfile": "VHDX", "conectix": "VHD", "<<< ": "VDI",
	} {
		if strings.HasPrefix(string(head), magic) {
			return "", 0, errors.New(what + " images cannot be used; convert to qcow2 or raw")
		}
	}
	if !strings.HasPrefix(string(head), "QFI\xfb") {
		return "raw", length, nil
	}
	if len(head) < 72 {
		return "", 0, errors.New("the qcow2 header is cut off")
	}
	version := binary.BigEndian.Uint32(head[4:])
	backing := binary.BigEndian.Uint64(head[8:])
	virtual := binary.BigEndian.Uint64(head[24:])
	encrypted := binary.BigEndian.Uint32(head[32:])
	switch {
	case version != 2 && version != 3:
		return "", 0, fmt.Errorf("qcow2 version %d is not known", version)
	case backing != 0:
		return "", 0, errors.New("the qcow2 image lies on a backing file; flatten it")
	case encrypted != 0:
		return "", 0, errors.New("the qcow2 image is encrypted")
	case virtual == 0 || virtual > 1<<62:
		return "", 0, errors.New("the qcow2 image has no size that can be")
	case version == 3 && len(head) < 80:
		return "", 0, errors.New("the qcow2 header is cut off")
	case version == 3 && binary.BigEndian.Uint64(head[72:])&(1<<2) != 0:
		return "", 0, errors.New("the qcow2 image keeps its data in another file")
	case version == 3 && binary.BigEndian.Uint64(head[72:])&(1<<1) != 0:
		return "", 0, errors.New("the qcow2 image is marked as corrupt")
	}
	return "qcow2", int64(virtual), nil
}

// importPrefix begins the names of imported images. The rest follows from the content alone.
const importPrefix = "berthage-image-"

// imported makes sure that the image is in the storage pool, whole, and returns its path there.
//
// The volume's name is the content's hash. It is created empty and grows by the upload, so that it is whole
// exactly when it is as long as the file. Two that import at the same time meet in the name: the second waits
// while the volume grows and begins anew when it has stopped. Should both write, they write the same bytes.
func (s *session) imported(f imageFile, poolName string) (string, error) {
	name := importPrefix + f.hash[:32] + "." + f.format
	done, err := s.h.imports.Take(s.ctx, poolName+"/"+name)
	if err != nil {
		return "", err
	}
	defer done()
	var length int64
	since := time.Now()
	for {
		vol, have, err := s.lengthOf(poolName, name)
		missing := said(err, lv.ErrNoStorageVol)
		switch {
		case err != nil && !missing:
			return "", err
		case !missing && have == f.bytes:
			return read(s, func(api *lv.Libvirt) (string, error) { return api.StorageVolGetPath(vol) })
		case !missing && have < f.bytes && (have > length || time.Since(since) < s.h.timeouts.Stall):
			if have > length {
				length, since = have, time.Now()
			}
			if err := pause(s.ctx, 500*time.Millisecond); err != nil {
				return "", err
			}
			continue
		case !missing:
			s.h.log.Warn("an import that broke off is begun anew", "image", f.path, "volume", name)
			if err := s.deleteVolume(vol); err != nil {
				return "", err
			}
		}
		vol, err = s.createVolume(poolName, name, volumeXML{Target: volumeTargetXML{Format: formatXML{"raw"}}})
		if said(err, lv.ErrStorageVolExist) || err != nil && s.otherImports(err, poolName, name) {
			since = time.Now()
			continue
		}
		if err != nil {
			return "", err
		}
		if err := s.importInto(vol, f); err != nil {
			return "", err
		}
		since = time.Now()
	}
}

// otherImports reports whether a volume could not be made because another host has just made it in the shared pool.
func (s *session) otherImports(err error, poolName, name string) bool {
	var no *serverError
	if !errors.As(err, &no) || !s.h.config.Pools[poolName].Shared {
		return false
	}
	_, _, err = s.lengthOf(poolName, name)
	return err == nil
}

// lengthOf returns a volume and the length of its file.
func (s *session) lengthOf(poolName, name string) (lv.StorageVol, int64, error) {
	p, err := s.activePool(poolName)
	if err != nil {
		return lv.StorageVol{}, 0, err
	}
	look := func(api *lv.Libvirt) (lv.StorageVol, error) { return api.StorageVolLookupByName(p, name) }
	vol, err := read(s, look)
	if said(err, lv.ErrNoStorageVol) && s.h.config.Pools[poolName].Shared { // another host may have made it
		if err := s.refresh(p); err != nil {
			return vol, 0, err
		}
		vol, err = read(s, look)
	}
	if err != nil {
		return vol, 0, err
	}
	n, err := read(s, func(api *lv.Libvirt) (uint64, error) {
		_, _, physical, err := api.StorageVolGetInfoFlags(vol, uint32(lv.StorageVolGetPhysical))
		return physical, err
	})
	return vol, clamp(n), err
}

// importInto uploads the file. When it is not what was hashed any more, the volume does not become whole and is
// removed.
func (s *session) importInto(vol lv.StorageVol, f imageFile) error {
	in, err := f.open()
	if err != nil {
		return refuse(hypervisor.ErrRefused, fmt.Errorf("image file: %w", err))
	}
	defer in.Close()
	s.h.log.Info("importing an image", "image", f.path, "volume", vol.Name, "bytes", f.bytes)
	start := time.Now()
	progress := &progress{told: start, tell: func(done int64) {
		s.h.log.Info("importing an image", "image", f.path, "volume", vol.Name, "percent", done*100/f.bytes)
	}}
	whole := &verifying{r: &bounding{s.ctx, in}, sum: sha256.New(), left: f.bytes, want: f.hash}
	err = s.h.upload(s.ctx, vol, io.TeeReader(whole, progress), f.bytes)
	if err == nil {
		s.h.log.Info("imported an image", "image", f.path, "volume", vol.Name, "took", time.Since(start).Round(time.Millisecond))
		return nil
	}
	// What has been uploaded so far is of no use; where it cannot be removed now, the next import does it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 10*time.Second)
	defer cancel()
	if e := s.h.session(ctx).deleteVolume(vol); e != nil {
		s.h.log.Warn("what was imported of an image is left behind", "volume", vol.Name, "error", e)
	}
	return err
}

// verifying is a reader that keeps the end of a file back unless the whole is what was hashed.
type verifying struct {
	r    io.Reader
	sum  hash.Hash
	left int64  // bytes that are still to come
	want string // SHA-256 of the whole
}

func (v *verifying) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	v.sum.Write(p[:n])
	v.left -= int64(n)
	if v.left <= 0 && hex.EncodeToString(v.sum.Sum(nil)) != v.want {
		return 0, errors.New("the file has changed since it was looked at")
	}
	return n, err
}

// progress tells every five seconds how much has gone through it.
type progress struct {
	done int64
	told time.Time
	tell func(done int64)
}

func (p *progress) Write(b []byte) (int, error) {
	p.done += int64(len(b))
	if time.Since(p.told) >= 5*time.Second {
		p.told = time.Now()
		p.tell(p.done)
	}
	return len(b), nil
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
