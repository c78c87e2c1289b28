package libvirt

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// An image that is imported is a volume whose name says what it is called, how long it is and what its checksum is, so
// that libvirt makes it once and everybody can tell when it is whole. Libvirt cannot rename volumes.

// namedImage begins the names of imported images that have names of their own.
const namedImage = "berthage-named-"

// imagePool is where images are imported to.
func (h *host) imagePool() string {
	return orDefault(h.config.Images, slices.Sorted(maps.Keys(h.config.Pools))[0])
}

// imageVolume names the volume of an image; decoded by imageOf.
func imageVolume(f hypervisor.ImageFile) string {
	return namedImage + f.Name + "-" + strconv.FormatInt(f.Size, 10) + "-" + hex.EncodeToString(f.SHA256[:16]) + "." + f.Format
}

// imageOf tells what the name of a volume says of the image in it.
func imageOf(volume string) (name string, size int64, ok bool) {
	rest, ok := strings.CutPrefix(strings.TrimSuffix(volume, path.Ext(volume)), namedImage)
	parts := strings.Split(rest, "-")
	if !ok || len(parts) < 3 {
		return "", 0, false
	}
	size, err := strconv.ParseInt(parts[len(parts)-2], 10, 64)
	return strings.Join(parts[:len(parts)-2], "-"), size, err == nil
}

// Images implements hypervisor.Imager. It lists the volumes of the configured storage pools that are not a machine's: what
// was imported, and the disk images that others have put there. Images are those of one host, and where they lie in a
// shared pool, of all that share it.
func (d *Driver) Images(ctx context.Context, id pool.HostID) ([]hypervisor.SourceImage, error) {
	fail := func(err error) ([]hypervisor.SourceImage, error) {
		return nil, wrap("list images", hypervisor.Ref{Host: id}, false, err)
	}
	h, err := d.host(id)
	if err != nil {
		return fail(err)
	}
	s := h.session(ctx)
	if err := s.imaging(); err != nil {
		return fail(err)
	}
	var out []hypervisor.SourceImage
	for name, config := range h.config.Pools {
		if s.c.offers.odd[name] != "" {
			continue
		}
		p, err := s.activePool(name)
		if said(err, lv.ErrNoStoragePool) {
			continue
		}
		if err == nil && config.Shared {
			err = s.refresh(p)
		}
		var volumes []lv.StorageVol
		if err == nil {
			volumes, err = s.volumes(p, "")
		}
		if err != nil {
			return fail(fmt.Errorf("storage pool %s: %w", pool.Quote(name), err))
		}
		for _, vol := range volumes {
			image, err := s.sourceImage(name, vol)
			if err != nil {
				return fail(err)
			}
			if image != nil {
				out = append(out, *image)
			}
		}
	}
	slices.SortFunc(out, func(a, b hypervisor.SourceImage) int { return cmp.Compare(a.Source, b.Source) })
	return out, nil
}

// imaging returns an error unless the host's volumes can be written.
func (s *session) imaging() error {
	if _, err := s.conn(); err != nil {
		return err
	}
	if !s.c.offers.uploads {
		return refuse(errors.ErrUnsupported, errors.New("the host takes no uploads"))
	}
	return nil
}

// sourceImage is a volume as an image; nil: it is none, or not whole, or gone.
func (s *session) sourceImage(poolName string, vol lv.StorageVol) (*hypervisor.SourceImage, error) {
	name, whole, imported := imageOf(vol.Name)
	if !imported && strings.HasPrefix(vol.Name, "berthage-") {
		return nil, nil // a machine's, or of a file that creates import by themselves
	}
	text, err := read(s, func(api *lv.Libvirt) (string, error) { return api.StorageVolGetXMLDesc(vol, 0) })
	if said(err, lv.ErrNoStorageVol) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var v volumeXML
	if err := parse("volume", text, &v); err != nil {
		return nil, err
	}
	if format := Format(v.Target.Format.Type); format != QCOW2 && format != Raw {
		return nil, nil
	}
	if imported {
		_, have, err := s.lengthOf(poolName, vol.Name)
		if said(err, lv.ErrNoStorageVol) || err == nil && have != whole {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return &hypervisor.SourceImage{Source: volumeSource(poolName, vol.Name), Name: cmp.Or(name, vol.Name), Size: v.Capacity.Value}, nil
}

func volumeSource(poolName, volume string) string { return "volume:" + poolName + "/" + volume }

// Import implements hypervisor.Imager. The image is uploaded into the storage pool that the configuration names for
// images. An import that broke off is begun anew by the next one of that image.
func (d *Driver) Import(ctx context.Context, id pool.HostID, f hypervisor.ImageFile) (string, error) {
	var s *session
	fail := func(err error) (string, error) {
		return "", wrap("import image", hypervisor.Ref{Host: id}, s != nil && s.changed, err)
	}
	h, err := d.host(id)
	if err != nil {
		return fail(err)
	}
	content := bufio.NewReaderSize(f.Content, 4<<10)
	if err := checkImage(f, content); err != nil {
		return fail(refuse(hypervisor.ErrInvalid, err))
	}
	s = h.session(ctx)
	if err := s.imaging(); err != nil {
		return fail(err)
	}
	poolName, name := h.imagePool(), imageVolume(f)
	done, err := h.imports.Take(ctx, poolName+"/"+namedImage+f.Name)
	if err != nil {
		return fail(err)
	}
	defer done()
	there, err := s.importedAs(poolName, f)
	if err != nil {
		return fail(err)
	}
	if !there {
		if err := s.importImage(poolName, name, f, content); err != nil {
			return fail(err)
		}
	}
	return volumeSource(poolName, name), nil
}

// checkImage checks what can be told of an image before it is stored.
func checkImage(f hypervisor.ImageFile, content *bufio.Reader) error {
	if err := pool.ValidHostname(f.Name); err != nil {
		return pool.InField("name", err)
	}
	if f.Format != string(QCOW2) && f.Format != string(Raw) {
		return invalid("format", f.Format, "qcow2 or raw")
	}
	if f.Size <= 0 {
		return invalid("size", strconv.FormatInt(f.Size, 10), "more than nothing")
	}
	head, err := content.Peek(int(min(512, f.Size)))
	if err != nil && len(head) == 0 {
		return fmt.Errorf("read the image: %w", err)
	}
	format, _, err := probeImage(bytes.NewReader(head), f.Size)
	if err != nil {
		return err
	}
	if format != f.Format {
		return invalid("format", f.Format, "the format that the content has: "+format)
	}
	return nil
}

// importedAs reports whether the image is there, whole. One of the same name with another content is ErrExists; what is
// left of a broken import is removed.
func (s *session) importedAs(poolName string, f hypervisor.ImageFile) (bool, error) {
	p, err := s.activePool(poolName)
	if err != nil {
		return false, err
	}
	if err := s.refresh(p); err != nil {
		return false, err
	}
	volumes, err := s.volumes(p, namedImage+f.Name+"-")
	if err != nil {
		return false, err
	}
	found := false
	for _, vol := range volumes {
		name, size, ok := imageOf(vol.Name)
		if !ok || name != f.Name {
			continue
		}
		_, have, err := s.lengthOf(poolName, vol.Name)
		switch {
		case said(err, lv.ErrNoStorageVol):
		case err != nil:
			return false, err
		case have != size && vol.Name != imageVolume(f): // somebody may be at it
		case have != size:
			if err := s.deleteVolume(vol); err != nil {
				return false, err
			}
		case vol.Name != imageVolume(f):
			return false, refuse(hypervisor.ErrExists, fmt.Errorf("there is an image %s of another content", pool.Quote(f.Name)))
		default:
			found = true
		}
	}
	return found, nil
}

// importImage uploads the image. It becomes as long as its name says when all of it has come and is right.
func (s *session) importImage(poolName, name string, f hypervisor.ImageFile, content io.Reader) error {
	vol, err := s.createVolume(poolName, name, volumeXML{Target: volumeTargetXML{Format: formatXML{string(Raw)}}})
	if err != nil {
		return err
	}
	in := &received{r: &bounding{s.ctx, content}, sum: sha256.New(), left: f.Size, want: f.SHA256}
	if err := s.h.upload(s.ctx, vol, in, f.Size); err != nil {
		s.dropPart(vol)
		if in.wrong != nil {
			err = refuse(hypervisor.ErrInvalid, in.wrong)
		}
		return err
	}
	// What format it has, and how large a disk it makes, libvirt finds out anew.
	p, err := s.activePool(poolName)
	if err == nil {
		err = s.refresh(p)
	}
	return err
}

// dropPart removes what has been uploaded of an image. Where it cannot be removed it is in no list, as it is not whole,
// and the next import of the image removes it.
func (s *session) dropPart(vol lv.StorageVol) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 10*time.Second)
	defer cancel()
	t := s.h.session(ctx)
	for {
		err := t.deleteVolume(vol)
		if err == nil {
			return
		}
		// The daemon may still be ending the upload.
		if e := pause(ctx, pollPower); e != nil || !said(err, lv.ErrOperationInvalid) {
			s.h.log.Warn("what was imported of an image is left behind", "volume", vol.Name, "error", err)
			return
		}
	}
}

// received is a reader that keeps the end of a content back unless the whole is what it should be.
type received struct {
	r     io.Reader
	sum   hash.Hash
	left  int64 // bytes that are still to come
	want  [sha256.Size]byte
	wrong error // what is wrong with it
}

func (r *received) Read(p []byte) (int, error) {
	n, err := r.r.Read(p[:min(int64(len(p)), r.left)])
	r.sum.Write(p[:n])
	r.left -= int64(n)
	switch {
	case r.left > 0 && err == io.EOF:
		r.wrong = invalid("content", "", strconv.FormatInt(r.left, 10)+" bytes more")
	case r.left == 0 && [sha256.Size]byte(r.sum.Sum(nil)) != r.want:
		r.wrong = invalid("content", "", "the content with the checksum that was given")
	case r.left == 0:
		if more, _ := io.ReadFull(r.r, make([]byte, 1)); more > 0 {
			r.wrong = invalid("content", "", "no more than the size that was given")
		}
	}
	if r.wrong != nil {
		return 0, r.wrong
	}
	return n, err
}

// RemoveImage implements hypervisor.Imager. It looks at all hosts that share the storage pool for machines that need the
// image.
func (d *Driver) RemoveImage(ctx context.Context, id pool.HostID, source string) error {
	var s *session
	fail := func(err error) error {
		return wrap("remove image", hypervisor.Ref{Host: id}, s != nil && s.changed, err)
	}
	h, err := d.host(id)
	if err != nil {
		return fail(err)
	}
	src, err := parseSource(source)
	_, configured := h.config.Pools[src.pool]
	_, _, imported := imageOf(src.volume)
	if err == nil && (!configured || !imported && strings.HasPrefix(src.volume, "berthage-")) {
		err = invalid("source", source, "one that is listed")
	}
	if err != nil {
		return fail(refuse(hypervisor.ErrInvalid, err))
	}
	s = h.session(ctx)
	if err := s.imaging(); err != nil {
		return fail(err)
	}
	vol, _, err := s.lengthOf(src.pool, src.volume)
	if said(err, lv.ErrNoStorageVol, lv.ErrNoStoragePool) {
		return nil
	}
	if err != nil {
		return fail(err)
	}
	file, err := read(s, func(api *lv.Libvirt) (string, error) { return api.StorageVolGetPath(vol) })
	if err != nil {
		return fail(err)
	}
	for _, other := range d.all() {
		if other != h && !(h.config.Pools[src.pool].Shared && other.config.Pools[src.pool].Shared) {
			continue
		}
		if err := other.session(ctx).needs(file); err != nil {
			return fail(fmt.Errorf("on %s: %w", other.id, err))
		}
	}
	return fail(s.deleteVolume(vol))
}

// needs returns ErrRefused where a volume of the host lies on the file.
func (s *session) needs(file string) error {
	if _, err := s.conn(); err != nil {
		return err
	}
	for name, config := range s.h.config.Pools {
		if s.c.offers.odd[name] != "" {
			continue
		}
		p, err := s.activePool(name)
		if said(err, lv.ErrNoStoragePool) {
			continue
		}
		if err == nil && config.Shared {
			err = s.refresh(p)
		}
		var files []layerFile
		if err == nil {
			files, err = s.layerFiles(p, "")
		}
		if err != nil {
			return fmt.Errorf("storage pool %s: %w", pool.Quote(name), err)
		}
		for _, f := range files {
			if f.on == file {
				return refuse(hypervisor.ErrRefused, fmt.Errorf("volume %s lies on it", pool.Quote(f.Name)))
			}
		}
	}
	return nil
}
