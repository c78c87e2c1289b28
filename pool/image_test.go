package pool_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
)

func TestCatalogue(t *testing.T) {
	t.Parallel()
	users := map[string]string{}
	for _, i := range pool.Catalogue() {
		require.NoError(t, i.Valid())
		require.Empty(t, i.Sources, "sources are the operator's")
		require.NotEmpty(t, i.OS)
		users[i.Name] = i.User
	}
	require.Equal(t, map[string]string{
		"centos-7": "centos", "rhel-7": "cloud-user", "rhel-8": "cloud-user", "rhel-9": "cloud-user", "rocky-9": "rocky",
		"ubuntu-20.04": "ubuntu", "ubuntu-22.04": "ubuntu", "ubuntu-24.04": "ubuntu", "oracle-8.10": "cloud-user", "debian-12": "debian",
	}, users)
	c := pool.Catalogue()
	c[0].Name = "x"
	require.NotEqual(t, "x", pool.Catalogue()[0].Name)
}

func TestImageValid(t *testing.T) {
	t.Parallel()
	good := pool.Image{Name: "debian-12", User: "debian", MinDisk: pool.GiB, Sources: map[string]string{"libvirt": "/images/a b <c>.qcow2"}}
	require.NoError(t, good.Valid())
	c := good.Clone()
	c.Sources["libvirt"] = ""
	require.NoError(t, good.Valid(), "a clone is deep")
	for name, change := range map[string]func(*pool.Image){
		"name":   func(i *pool.Image) { i.Name = "a\nb" },
		"os":     func(i *pool.Image) { i.OS = "a\nb" },
		"user":   func(i *pool.Image) { i.User = "" },
		"disk":   func(i *pool.Image) { i.MinDisk = -1 },
		"driver": func(i *pool.Image) { i.Sources = map[string]string{"<d>": "x"} },
		"empty":  func(i *pool.Image) { i.Sources = map[string]string{"d": ""} },
		"source": func(i *pool.Image) { i.Sources = map[string]string{"d": "a\nb"} },
	} {
		i := good.Clone()
		change(&i)
		err := i.Valid()
		require.ErrorIs(t, err, pool.ErrInvalid, name)
		harmless(t, err)
	}
}

func TestFlavor(t *testing.T) {
	t.Parallel()
	f := pool.Flavor{Name: "small", Resources: pool.Resources{pool.CPU: 2000, pool.Memory: pool.GiB, pool.StorageSSD: 20 * pool.GiB}}
	require.NoError(t, f.Valid())
	s, err := f.Resolve(pool.Spec{Image: "debian-12", Flavor: "small"})
	require.NoError(t, err)
	require.Equal(t, pool.Resources{pool.CPU: 2000, pool.Memory: pool.GiB}, s.Resources)
	require.Equal(t, []pool.Disk{{Size: 20 * pool.GiB, Storage: pool.SSD}}, s.Disks)

	own := pool.Spec{Disks: []pool.Disk{{Size: pool.GiB}}}
	s, err = f.Resolve(own)
	require.NoError(t, err)
	require.Equal(t, own.Disks, s.Disks, "disks of one's own replace the flavor's")
	s.Disks[0].Size = 0
	require.Equal(t, pool.GiB, own.Disks[0].Size)

	_, err = f.Resolve(pool.Spec{Resources: pool.Resources{pool.CPU: 1}})
	require.ErrorIs(t, err, pool.ErrInvalid)
	for name, r := range map[string]pool.Resources{
		"two kinds of storage": {pool.StorageSSD: 1, pool.StorageNVMe: 1},
		"IOPS":                 {pool.IOPSSSD: 1},
		"IOPS of a short kind": {"iops.a": 1},
		"instances":            {pool.Instances: 1},
		"negative":             {pool.CPU: -1},
		"class":                {"a\nb": 1},
		"storage of no kind":   {"storage": 1},
	} {
		bad := pool.Flavor{Name: "x", Resources: r}
		err := bad.Valid()
		require.ErrorIs(t, err, pool.ErrInvalid, name)
		harmless(t, err)
		require.NotPanics(t, func() { _, _ = bad.Resolve(pool.Spec{}) }, name)
	}
	require.ErrorIs(t, pool.Flavor{Name: "a b"}.Valid(), pool.ErrInvalid)
}

func TestProjectValid(t *testing.T) {
	t.Parallel()
	require.NoError(t, pool.Project{Name: "p", Quota: pool.Resources{pool.Instances: 0, pool.CPU: math.MaxInt64}}.Valid())
	require.ErrorIs(t, pool.Project{Name: "a b"}.Valid(), pool.ErrInvalid)
	require.ErrorIs(t, pool.Project{Name: "p", Quota: pool.Resources{pool.CPU: -1}}.Valid(), pool.ErrInvalid)
}
