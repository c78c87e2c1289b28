package proxmox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/internal/cloudinit"
)

// uploadSeed puts the machine's seed onto the storage for seeds. It is a request of our own, since the library's knows no context.
func (b *build) uploadSeed() error {
	image, err := cloudinit.ISO(b.seed)
	if err != nil {
		return refuse(hypervisor.ErrInvalid, err)
	}
	name := seedName(b.order.Ref)
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	if err := w.WriteField("content", "iso"); err != nil {
		return err
	}
	part, err := w.CreateFormFile("filename", name)
	if err == nil {
		_, err = part.Write(image)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return err
	}
	node := b.plan.node
	var upid string
	err = b.once(func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.cfg.URL+"/api2/json"+storagePath(node, b.cfg.SeedStorage)+"/upload", bytes.NewReader(body.Bytes()))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", w.FormDataContentType())
		res, err := b.web.RoundTrip(req)
		if err != nil {
			return err
		}
		var said struct {
			Data string `json:"data"`
		}
		if err := json.NewDecoder(res.Body).Decode(&said); err != nil {
			return err
		}
		upid = said.Data
		return nil
	})
	if err == nil || kindOf(err, true) == hypervisor.ErrUnknown {
		b.changed = true
	}
	if err == nil {
		err = b.wait(upid)
	}
	return b.settle(err, func() (bool, error) {
		list, err := b.seeds(node)
		return slices.Contains(list, b.cfg.SeedStorage+":iso/"+name), err
	})
}

func storagePath(node, storage string) string {
	return "/nodes/" + node + "/storage/" + url.PathEscape(storage)
}

// seeds lists the seeds of all machines that a node sees, by their volumes.
func (s *session) seeds(node string) ([]string, error) {
	var list []struct {
		Volume string `json:"volid"`
	}
	err := s.get(storagePath(node, s.cfg.SeedStorage)+"/content", url.Values{"content": {"iso"}}, &list)
	var out []string
	for _, v := range list {
		if strings.HasPrefix(v.Volume, s.cfg.SeedStorage+":iso/berthage-") {
			out = append(out, v.Volume)
		}
	}
	return out, err
}

// deleteSeeds removes the seeds of those names.
func (s *session) deleteSeeds(node string, names ...string) error {
	if s.cfg.SeedStorage == "" {
		return nil
	}
	for range 3 {
		list, err := s.seeds(node)
		if err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(volume string) bool {
			return !slices.Contains(names, strings.TrimPrefix(volume, s.cfg.SeedStorage+":iso/"))
		})
		if len(list) == 0 {
			return nil
		}
		for _, volume := range list {
			// It is answered with a task, or with nothing when it is done; what counts is that it is gone from the list.
			var upid *string
			err := s.change(http.MethodDelete, storagePath(node, s.cfg.SeedStorage)+"/content/"+url.PathEscape(volume), nil, &upid)
			if err == nil && upid != nil && strings.HasPrefix(*upid, "UPID:") {
				err = s.wait(*upid)
			}
			if err != nil && kindOf(err, true) != hypervisor.ErrUnknown {
				return err
			}
			if s.ctx.Err() != nil {
				return refuse(hypervisor.ErrUnknown, s.ctx.Err())
			}
		}
	}
	return refuse(hypervisor.ErrUnknown, errors.New("a seed cannot be removed"))
}
