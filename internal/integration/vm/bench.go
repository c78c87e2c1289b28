package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/internal/integration/testbed"
)

// bench alternates launches through berthd with bare launches by virsh of the same guest: the same domain,
// an overlay and a seed made by qemu-img and genisoimage, from the first command to SSH. It prints every
// pair and the median of the ratios.
func (w *world) bench(ctx context.Context, runs int) error {
	var ratios, ours, bare []float64
	for n := range runs {
		name := "berth-" + strconv.Itoa(n)
		id, _, took, err := w.launch(ctx, name)
		if err != nil {
			return err
		}
		template, err := w.template(ctx)
		if err != nil {
			return err
		}
		if err := w.remove(ctx, id); err != nil {
			return err
		}
		alone, err := w.bare(ctx, template, n)
		if err != nil {
			return err
		}
		ours, bare = append(ours, took.Seconds()), append(bare, alone.Seconds())
		ratios = append(ratios, took.Seconds()/alone.Seconds())
		fmt.Printf("run %d: berthd %.2f s, virsh %.2f s, ratio %.3f (load %s)\n", n+1, ours[n], bare[n], ratios[n], testbed.Load())
	}
	fmt.Printf("median of %d: berthd %.2f s, virsh %.2f s, ratio %.3f\n", runs, median(ours), median(bare), median(ratios))
	return nil
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// template returns the definition of the one domain that is there.
func (w *world) template(ctx context.Context) (string, error) {
	out, err := w.libvirt.Virsh(ctx, "list", "--name")
	if err != nil {
		return "", err
	}
	for _, d := range testbed.Lines(out) {
		if !slices.Contains(w.before.domains, d) {
			return w.libvirt.Virsh(ctx, "dumpxml", "--inactive", d)
		}
	}
	return "", fmt.Errorf("no domain to copy")
}

var (
	ofSource = regexp.MustCompile(`<source (file|pool)=[^>]*/>`)
	ofName   = regexp.MustCompile(`<name>[^<]*</name>`)
	ofUUID   = regexp.MustCompile(`<uuid>[^<]*</uuid>\n?`)
	ofMAC    = regexp.MustCompile(`<mac address=[^>]*/>`)
	ofMeta   = regexp.MustCompile(`(?s)<metadata>.*</metadata>`)
	ofLog    = regexp.MustCompile(`<log file=[^>]*/>`)
	ofType   = regexp.MustCompile(`<disk type='volume'`)
)

// bare launches the guest as a person would with virsh, and removes it.
func (w *world) bare(ctx context.Context, template string, n int) (time.Duration, error) {
	dir := filepath.Join(w.dir, "bare")
	if err := os.MkdirAll(filepath.Join(dir, "seed"), 0o755); err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	name := "bare-" + strconv.Itoa(n)
	keys := fmt.Sprintf(`[{"name":%q,"groups":"sudo","shell":"/bin/sh","sudo":"ALL=(ALL) NOPASSWD:ALL","lock_passwd":true,"ssh_authorized_keys":[%q]}]`, user, w.public)
	var fs, mounts []string
	for i, at := range []string{"/data", "/srv/more"} {
		dev := fmt.Sprintf("/dev/disk/by-id/virtio-berthage-d%d", i+1)
		fs = append(fs, fmt.Sprintf(`{"label":"berthage-d%d","filesystem":"ext4","device":%q,"partition":"auto","overwrite":false}`, i+1, dev))
		mounts = append(mounts, fmt.Sprintf(`[%q,%q,"auto","defaults,nofail","0","2"]`, dev, at))
	}
	seed := map[string]string{
		"meta-data": fmt.Sprintf("instance-id: %q\nlocal-hostname: %q\n", name, name),
		"user-data": fmt.Sprintf("#cloud-config\nhostname: %q\nusers: %s\nfs_setup: [%s]\nmounts: [%s]\n", name, keys, strings.Join(fs, ","), strings.Join(mounts, ",")),
	}
	for file, text := range seed {
		if err := os.WriteFile(filepath.Join(dir, "seed", file), []byte(text), 0o644); err != nil {
			return 0, err
		}
	}
	root := "1G"
	if w.o.image == "debian" {
		root = "4G"
	}
	files := []string{"root.qcow2", "d1.qcow2", "d2.qcow2", "seed.iso"}
	start := time.Now()
	for _, c := range [][]string{
		{"qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", w.image, filepath.Join(dir, files[0]), root},
		{"qemu-img", "create", "-q", "-f", "qcow2", filepath.Join(dir, files[1]), "1G"},
		{"qemu-img", "create", "-q", "-f", "qcow2", filepath.Join(dir, files[2]), "512M"},
		{"genisoimage", "-quiet", "-V", "cidata", "-J", "-R", "-o", filepath.Join(dir, files[3]), filepath.Join(dir, "seed")},
	} {
		if _, err := testbed.Command(ctx, c[0], c[1:]...); err != nil {
			return 0, err
		}
	}
	k := 0
	xml := ofSource.ReplaceAllStringFunc(template, func(string) string {
		f := files[min(k, len(files)-1)]
		k++
		return "<source file='" + filepath.Join(dir, f) + "'/>"
	})
	xml = ofType.ReplaceAllString(ofLog.ReplaceAllString(ofMeta.ReplaceAllString(xml, ""), ""), "<disk type='file'")
	xml = ofMAC.ReplaceAllString(ofUUID.ReplaceAllString(ofName.ReplaceAllString(xml, "<name>"+name+"</name>"), ""), "")
	file := filepath.Join(dir, "domain.xml")
	if err := os.WriteFile(file, []byte(xml), 0o644); err != nil {
		return 0, err
	}
	if _, err := w.libvirt.Virsh(ctx, "define", file); err != nil {
		return 0, err
	}
	defer func() {
		ctx := context.WithoutCancel(ctx)
		_, _ = w.libvirt.Virsh(ctx, "destroy", name)
		_, _ = w.libvirt.Virsh(ctx, "undefine", name)
	}()
	if _, err := w.libvirt.Virsh(ctx, "start", name); err != nil {
		return 0, err
	}
	address, err := w.lease(ctx, name)
	if err != nil {
		return 0, err
	}
	if err := w.answers(ctx, address); err != nil {
		return 0, err
	}
	return time.Since(start), nil
}

func (w *world) lease(ctx context.Context, name string) (string, error) {
	for {
		out, err := w.libvirt.Virsh(ctx, "domifaddr", name)
		if err != nil {
			return "", err
		}
		for _, l := range testbed.Lines(out) {
			if f := strings.Fields(l); len(f) == 4 && f[2] == "ipv4" {
				address, _, _ := strings.Cut(f[3], "/")
				return address, nil
			}
		}
		if err := testbed.Pause(ctx, 100*time.Millisecond); err != nil {
			return "", err
		}
	}
}
