package hypervisortest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"slices"
	"strings"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

func (p *probe) imager() hypervisor.Imager {
	i, _ := hypervisor.As[hypervisor.Imager](p.Driver)
	return i
}

// listed returns the images of the first host whose names or sources contain name.
func (p *probe) listed(name string) []hypervisor.SourceImage {
	all := want(p, "list images", func(ctx context.Context) ([]hypervisor.SourceImage, error) { return p.imager().Images(ctx, p.Hosts[0]) })
	if !slices.IsSortedFunc(all, func(a, b hypervisor.SourceImage) int { return strings.Compare(a.Source, b.Source) }) {
		p.errorf("the images are not listed in the order of their sources")
	}
	return slices.DeleteFunc(all, func(i hypervisor.SourceImage) bool {
		return !strings.Contains(i.Name, name) && !strings.Contains(i.Source, name)
	})
}

func images(p *probe) {
	host := p.Hosts[0]
	name := "img-" + strings.TrimPrefix(p.ledger, "conformance-")
	name = name[:min(len(name), 40)]
	put := func(content []byte, change func(*hypervisor.ImageFile)) func(ctx context.Context) (string, error) {
		return func(ctx context.Context) (string, error) {
			f := hypervisor.ImageFile{Name: name, Format: "raw", Size: int64(len(content)), SHA256: sha256.Sum256(content), Content: bytes.NewReader(content)}
			change(&f)
			return p.imager().Import(ctx, host, f)
		}
	}
	same := func(*hypervisor.ImageFile) {}
	fails := func(kind error, what string, call func(ctx context.Context) (string, error)) {
		p.fails(kind, what, func(ctx context.Context) error { _, err := call(ctx); return err })
	}
	for what, change := range map[string]func(*hypervisor.ImageFile){
		"an image of another checksum": func(f *hypervisor.ImageFile) { f.SHA256[0]++ },
		"an image that is too short":   func(f *hypervisor.ImageFile) { f.Size++ },
		"an image that is too long":    func(f *hypervisor.ImageFile) { f.Size-- },
		"an image of an odd format":    func(f *hypervisor.ImageFile) { f.Format = "punched cards" },
		"an image of an odd name":      func(f *hypervisor.ImageFile) { f.Name = "../" + name },
	} {
		fails(hypervisor.ErrInvalid, what, put(p.ImageFile, change))
		if n := len(p.listed(name)); n != 0 {
			p.errorf("after %s there are %d images of its name", what, n)
		}
	}
	source := want(p, "import", put(p.ImageFile, same))
	defer func() {
		p.must("remove image", func(ctx context.Context) error { return p.imager().RemoveImage(ctx, host, source) })
		if n := len(p.listed(name)); n != 0 {
			p.errorf("after its removal the image is listed %d times", n)
		}
		p.must("remove image again", func(ctx context.Context) error { return p.imager().RemoveImage(ctx, host, source) })
	}()
	is := func(when string) {
		if all := p.listed(name); len(all) != 1 || all[0].Source != source {
			p.errorf("%s the image %q is listed as %v", when, source, all)
		}
	}
	is("after import")
	if again := want(p, "the same import again", put(p.ImageFile, same)); again != source {
		p.errorf("the same import again gives the source %q instead of %q", again, source)
	}
	is("after the same import again")
	other := slices.Clone(p.ImageFile)
	other[len(other)-1]++
	fails(hypervisor.ErrExists, "an import of another content under that name", put(other, same))
	is("after another content under that name")
	if p.ImageBoots {
		o := p.started(host, func(o *hypervisor.Order) { o.Source = source })
		p.power(o.Ref, pool.Running, "after start from an image that was imported")
		p.must("destroy", p.destroy(o.Ref))
	}
}
