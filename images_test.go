package berthage_test

import (
	"context"
	"crypto/sha256"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// An image that is imported can be put into the catalogue and be launched.
func TestImportedImage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(1), Images: []string{"debian"}})
		defer b.stop()
		ctx := context.Background()
		const content = "a disk"
		file := func() hypervisor.ImageFile {
			return hypervisor.ImageFile{Name: "alpine", Format: "raw", Size: int64(len(content)), SHA256: sha256.Sum256([]byte(content)), Content: strings.NewReader(content)}
		}
		source, err := b.m.ImportImage(ctx, "sim/h00", file())
		require.NoError(t, err)
		list, err := b.m.SourceImages(ctx, "sim/h00")
		require.NoError(t, err)
		require.Equal(t, []hypervisor.SourceImage{{Source: source, Name: "alpine", Size: 6}, {Source: "debian", Name: "debian"}}, list)
		require.NoError(t, b.m.PutImage(ctx, pool.Image{Name: "alpine", User: "root", Sources: map[string]string{"sim": source}}))
		s := spec()
		s.Image = "alpine"
		i, err := b.m.Launch(ctx, berthage.Launch{Token: "one", Project: "shop", Name: "one", Spec: s})
		require.NoError(t, err)
		require.Equal(t, "running", settle(t, b.m, i.ID).Status())
		require.NoError(t, b.m.RemoveSourceImage(ctx, "sim/h00", source))
		list, err = b.m.SourceImages(ctx, "sim/h00")
		require.NoError(t, err)
		require.Len(t, list, 1)

		_, err = b.m.ImportImage(ctx, "other/h00", file())
		require.ErrorIs(t, err, pool.ErrNotFound)
		_, err = b.m.SourceImages(ctx, "sim/none")
		require.ErrorIs(t, err, pool.ErrNotFound)
	})
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(1), Without: []hypervisor.Ability{hypervisor.CanImage}})
		defer b.stop()
		_, err := b.m.SourceImages(context.Background(), "sim/h00")
		require.ErrorIs(t, err, errUnsupported)
		require.ErrorIs(t, b.m.RemoveSourceImage(context.Background(), "sim/h00", "debian"), errUnsupported)
	})
}
