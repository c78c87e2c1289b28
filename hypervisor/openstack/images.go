package openstack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// The properties of images that Import has made.
const (
	propertyName = "berthage_name"
	propertySum  = "berthage_sha256"
)

// glanceImage is an image of Glance's.
type glanceImage struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Status      string `json:"status"`
	Format      string `json:"disk_format"`
	Size        int64  `json:"size"`
	VirtualSize int64  `json:"virtual_size"`
	MinDisk     int64  `json:"min_disk"` // GiB
	Sum         string `json:"berthage_sha256"`
	Imported    string `json:"berthage_name"`
}

// imagesOf starts a call about the images of a host; all hosts of a driver have the same.
func (d *Driver) imagesOf(ctx context.Context, id pool.HostID) (*session, error) {
	s := d.session(ctx)
	if err := s.knows(id); err != nil {
		return s, err
	}
	if !d.offers(hypervisor.CanImage) {
		return s, errNotOffered(hypervisor.CanImage)
	}
	return s, nil
}

// Images implements hypervisor.Imager: the active images that the project sees, whoever made them.
func (d *Driver) Images(ctx context.Context, id pool.HostID) ([]hypervisor.SourceImage, error) {
	s, err := d.imagesOf(ctx, id)
	var found []glanceImage
	if err == nil {
		found, err = list[glanceImage](s, glance, "images", "images", url.Values{"status": {"active"}, "limit": {pageSize}})
	}
	if err != nil {
		return nil, wrap("list images", hypervisor.Ref{Host: id}, s.call, err)
	}
	out := make([]hypervisor.SourceImage, 0, len(found))
	for _, i := range found {
		size := max(i.VirtualSize, 0)
		if i.MinDisk > 0 && i.MinDisk <= math.MaxInt64/pool.GiB {
			size = max(size, i.MinDisk*pool.GiB)
		}
		if i.Format == "raw" {
			size = max(size, i.Size)
		}
		out = append(out, hypervisor.SourceImage{Source: i.ID, Name: d.cloud.harmless(i.Name), Size: size})
	}
	slices.SortFunc(out, func(a, b hypervisor.SourceImage) int { return strings.Compare(a.Source, b.Source) })
	return out, nil
}

// Import implements hypervisor.Imager: a private image of the project, with its checksum beside it. Its source is its id.
func (d *Driver) Import(ctx context.Context, id pool.HostID, f hypervisor.ImageFile) (string, error) {
	s, err := d.imagesOf(ctx, id)
	source := ""
	if err == nil {
		source, err = s.importImage(f)
	}
	return source, wrap("import", hypervisor.Ref{Host: id}, s.call, err)
}

func (s *session) importImage(f hypervisor.ImageFile) (string, error) {
	switch {
	case pool.ValidHostname(f.Name) != nil:
		return "", refuse(hypervisor.ErrInvalid, invalid("name", f.Name, "a DNS label"))
	case f.Format != "qcow2" && f.Format != "raw":
		return "", refuse(hypervisor.ErrInvalid, invalid("format", f.Format, "qcow2 or raw"))
	case f.Content == nil || f.Size <= 0:
		return "", refuse(hypervisor.ErrInvalid, invalid("content", "", "a content, and its size in bytes"))
	}
	sum := hex.EncodeToString(f.SHA256[:])
	there, err := list[glanceImage](s, glance, "images", "images", url.Values{propertyName: {f.Name}, "status": {"active"}, "limit": {pageSize}})
	if err != nil {
		return "", err
	}
	for _, i := range there {
		switch {
		case i.Imported != f.Name || i.Status != "active":
		case i.Sum != sum:
			return "", refuse(hypervisor.ErrExists, errors.New("an image of that name has another content"))
		default:
			return i.ID, nil
		}
	}
	var made glanceImage
	about := map[string]any{
		"name": f.Name, "disk_format": f.Format, "container_format": "bare", "visibility": "private", propertyName: f.Name, propertySum: sum,
	}
	if err := s.post(glance, "images", about, &made); err != nil {
		return "", err
	}
	if made.ID == "" {
		return "", refuse(hypervisor.ErrUnknown, errMalformed)
	}
	if err := s.upload(made.ID, f); err != nil {
		return "", s.unmake(made.ID, err)
	}
	return made.ID, nil
}

// upload sends the content of an image and looks whether it has arrived.
func (s *session) upload(id string, f hypervisor.ImageFile) error {
	content := &checked{from: f.Content, left: f.Size, want: f.SHA256, sum: sha256.New()}
	p, err := s.d.cloud.connect(s.ctx)
	if err != nil {
		return err
	}
	sc, err := p.service(s.ctx, glance)
	if err != nil {
		return s.d.cloud.answered(err)
	}
	at := "images/" + url.PathEscape(id)
	_, err = sc.Request(s.ctx, http.MethodPut, sc.ResourceBaseURL()+at+"/file", &gophercloud.RequestOpts{
		RawBody: content, MoreHeaders: map[string]string{"Content-Type": octets}, OkCodes: []int{204},
	})
	if content.err != nil {
		return content.err
	}
	if err != nil {
		return s.d.cloud.answered(err)
	}
	for n := 1; ; n++ {
		var i glanceImage
		if err := s.get(glance, at, &i); err != nil {
			return err
		}
		if i.Status == "active" && i.Size == f.Size {
			return nil
		}
		if i.Status == "active" || i.Status == "killed" || i.Status == "deleted" || n > stills {
			return refuse(hypervisor.ErrRefused, fmt.Errorf("the image is in status %s and has %d bytes of it", pool.Quote(i.Status), i.Size))
		}
		if err := pause(s.ctx, s.d.config.poll(n)); err != nil {
			return err
		}
	}
}

// octets is the type of content that is sent as it comes, for as long as that takes.
const octets = "application/octet-stream"

// checked is a content that ends with an error unless it is what it should be: then Glance never has the whole of it.
type checked struct {
	from io.Reader
	left int64
	want [sha256.Size]byte
	sum  hash.Hash
	err  error // why it is not sent to its end
}

// Read implements io.Reader.
func (c *checked) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.from.Read(p)
	c.sum.Write(p[:n])
	c.left -= int64(n)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		c.err = refuse(hypervisor.ErrRefused, fmt.Errorf("read the content: %w", err))
	case c.left < 0, err != nil && c.left > 0:
		c.err = refuse(hypervisor.ErrInvalid, invalid("size", "", "the size of the content"))
	case err != nil && [sha256.Size]byte(c.sum.Sum(nil)) != c.want:
		c.err = refuse(hypervisor.ErrInvalid, invalid("sha256", "", "the checksum of the content"))
	}
	if c.err != nil {
		return 0, c.err
	}
	return n, err
}

// unmake removes an image that has come to nothing, and returns why it has.
func (s *session) unmake(image string, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 30*time.Second)
	defer cancel()
	clean := s.d.session(ctx)
	remove := func() error {
		return clean.request(glance, http.MethodDelete, "images/"+url.PathEscape(image), nil, nil)
	}
	if err := clean.twice(remove); err != nil && !answeredWith(err, http.StatusNotFound) {
		return refuse(hypervisor.ErrUnknown, fmt.Errorf("%w; then the image could not be removed: %w", why, err))
	}
	var own *hypervisor.Error
	var no *answer
	switch {
	case errors.As(why, &own):
		return why
	case errors.As(why, &no) && no.code < 500:
		return refuse(refusal(no), why)
	case s.ctx.Err() != nil:
		return refuse(hypervisor.ErrRefused, s.ctx.Err()) // and nothing is left
	}
	return refuse(hypervisor.ErrRefused, why)
}

// RemoveImage implements hypervisor.Imager. An image is needed as long as a server of the project has been made of it: Nova
// may want it again to rebuild or move that.
func (d *Driver) RemoveImage(ctx context.Context, id pool.HostID, source string) error {
	s, err := d.imagesOf(ctx, id)
	if err == nil {
		err = s.removeImage(source)
	}
	return wrap("remove image", hypervisor.Ref{Host: id}, s.call, err)
}

func (s *session) removeImage(source string) error {
	if !isUUID(source) {
		return refuse(hypervisor.ErrInvalid, invalid("source", source, "the id of an image"))
	}
	users, err := s.servers(url.Values{"image": {source}})
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return refuse(hypervisor.ErrRefused, fmt.Errorf("%d servers have been made of it", len(users)))
	}
	err = s.twice(func() error { return s.request(glance, http.MethodDelete, "images/"+url.PathEscape(source), nil, nil) })
	if answeredWith(err, http.StatusNotFound) {
		return nil
	}
	return err
}
