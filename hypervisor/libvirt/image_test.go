package libvirt_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/libvirt"
)

// imageFile writes a raw image and returns its path and the name of its volume.
func imageFile(t *testing.T, content []byte) (path, volume string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "image.raw")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	sum := sha256.Sum256(content)
	return path, libvirt.ImportPrefix + hex.EncodeToString(sum[:16]) + ".raw"
}

func (d *daemon) volume(name string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return bytes.Clone(d.volumes[name])
}

// imports counts the volumes of imported images.
func (d *daemon) imports() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for name := range d.volumes {
		if strings.HasPrefix(name, libvirt.ImportPrefix) {
			n++
		}
	}
	return n
}

// However many machines of however many drivers come at the same time, an image is brought to the host whole, and
// by one driver only once.
func TestImportOnce(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("0123456789abcdef"), 100_000) // several frames
	path, volume := imageFile(t, content)
	daemon := newDaemon(t)
	var wg sync.WaitGroup
	for range 3 {
		d := connected(t, daemon)
		for range 4 {
			wg.Go(func() {
				o := ordered("web-1")
				o.Source = path
				require.NoError(t, d.Create(t.Context(), o))
			})
		}
	}
	wg.Wait()
	require.True(t, bytes.Equal(content, daemon.volume(volume)))
	require.Equal(t, 1, daemon.imports())

	daemon = newDaemon(t)
	d := connected(t, daemon)
	machines(t, d)
	daemon.set(nil)
	for range 3 {
		o := ordered("web-1")
		o.Source = "file:" + path
		require.NoError(t, d.Create(t.Context(), o))
	}
	require.Equal(t, 1+3, daemon.count(procUpload), "one image and three seeds")

	// Another content is another image, also under the same name.
	require.NoError(t, os.WriteFile(path, []byte("other"), 0o600))
	o := ordered("web-1")
	o.Source = path
	require.NoError(t, d.Create(t.Context(), o))
	require.Equal(t, 2, daemon.imports())
}

// With a directory of images, nothing else that the driver could read becomes one.
func TestImagesOfOneDirectory(t *testing.T) {
	t.Parallel()
	outside, _ := imageFile(t, []byte("berthd_a-token"))
	inside, volume := imageFile(t, []byte("an image"))
	dir := filepath.Dir(inside)
	link := filepath.Join(dir, "link.raw")
	require.NoError(t, os.Symlink(outside, link))
	require.NoError(t, os.Symlink("image.raw", filepath.Join(dir, "latest.raw")))
	for name, tc := range map[string]struct {
		source  string
		refused bool
	}{
		"inside":           {inside, false},
		"by a link inside": {filepath.Join(dir, "latest.raw"), false},
		"outside":          {outside, true},
		"as a file":        {"file:" + outside, true},
		"by a link":        {link, true},
		"climbing":         {dir + "/../" + filepath.Base(filepath.Dir(outside)) + "/image.raw", true},
		"the directory":    {dir, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			daemon := newDaemon(t)
			d := connected(t, daemon, func(c *libvirt.Config) { c.ImageDir = dir })
			o := ordered("web-1")
			o.Source = tc.source
			err := d.Create(t.Context(), o)
			if !tc.refused {
				require.NoError(t, err)
				require.Equal(t, "an image", string(daemon.volume(volume)))
				return
			}
			require.ErrorIs(t, err, hypervisor.ErrRefused)
			require.Zero(t, daemon.imports())
		})
	}
}

// An import that broke off is begun anew once it has not grown for a while; one that grows is waited for.
func TestImportBrokenOff(t *testing.T) {
	t.Parallel()
	content := []byte(strings.Repeat("x", 1000))
	path, volume := imageFile(t, content)
	daemon := newDaemon(t)
	daemon.volumes[volume] = content[:300]
	d := connected(t, daemon, func(c *libvirt.Config) { c.Timeouts.Stall = 1500 * time.Millisecond })
	var grown, removed time.Time
	daemon.set(func(p uint32, n int) fault {
		switch {
		case p == procVolumeInfo && n == 2:
			grown = time.Now()
			daemon.volumes[volume] = content[:400]
		case p == procVolumeDelete && removed.IsZero():
			removed = time.Now()
		}
		return fault{}
	})
	o := ordered("web-1")
	o.Source = path
	require.NoError(t, d.Create(t.Context(), o))
	daemon.set(nil)
	require.GreaterOrEqual(t, removed.Sub(grown), 1500*time.Millisecond, "the stall is counted from the last growth")
	require.Equal(t, content, daemon.volume(volume))

	daemon.mu.Lock()
	daemon.volumes[volume] = append(bytes.Clone(content), "too long"...)
	daemon.mu.Unlock()
	o = ordered("web-2")
	o.Source = path
	require.NoError(t, d.Create(t.Context(), o))
	require.Equal(t, content, daemon.volume(volume))
}

// An upload that fails or whose caller goes away leaves no image that could be taken for a whole one.
func TestImportFails(t *testing.T) {
	t.Parallel()
	path, volume := imageFile(t, []byte(strings.Repeat("x", 1000)))
	daemon := newDaemon(t)
	d := connected(t, daemon, func(c *libvirt.Config) { c.Timeouts.Stall = 100 * time.Millisecond })
	daemon.mu.Lock()
	daemon.refuseUpload = "disk full"
	daemon.mu.Unlock()
	o := ordered("web-1")
	o.Source = path
	err := d.Create(t.Context(), o)
	require.ErrorIs(t, err, hypervisor.ErrRefused)
	require.Zero(t, daemon.imports())

	daemon.mu.Lock()
	daemon.refuseUpload = ""
	daemon.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	daemon.set(func(p uint32, n int) fault {
		if p != procUpload || n != 1 {
			return fault{}
		}
		cancel()
		return fault{silent: true}
	})
	require.ErrorIs(t, d.Create(ctx, o), context.Canceled)
	require.NoError(t, d.Create(t.Context(), o))
	require.Len(t, daemon.volume(volume), 1000)
}

// A file that was changed behind our back is refused, and its volume never becomes as long as a whole image, by which
// others would take it for one.
func TestImportOfChangedFile(t *testing.T) {
	t.Parallel()
	path, volume := imageFile(t, []byte(strings.Repeat("x", 1000)))
	o := ordered("web-1")
	o.Source = path
	daemon := newDaemon(t)
	d := connected(t, daemon)
	require.NoError(t, d.Create(t.Context(), o))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte(strings.Repeat("y", 1000)), 0o600))
	require.NoError(t, os.Chtimes(path, info.ModTime(), info.ModTime()))

	daemon.mu.Lock()
	delete(daemon.volumes, volume)
	daemon.mu.Unlock()
	longest := 0
	daemon.set(func(p uint32, _ int) fault {
		longest = max(longest, len(daemon.volumes[volume]))
		return fault{}
	})
	o = ordered("web-2")
	o.Source = path
	err = d.Create(t.Context(), o)
	require.ErrorIs(t, err, hypervisor.ErrRefused)
	require.ErrorContains(t, err, "changed")
	require.Zero(t, daemon.imports())
	require.Less(t, longest, 1000)
}
