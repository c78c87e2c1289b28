package pool_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
)

func goodSpec() pool.Spec {
	return pool.Spec{
		Kind: pool.VM, Image: "debian-12",
		Resources: pool.Resources{pool.CPU: 2000, pool.Memory: 4 * pool.GiB, pool.GPU: 1, "licence.oracle": 1},
		Disks: []pool.Disk{
			{Size: 20 * pool.GiB}, {Size: 100 * pool.GiB, Storage: pool.NVMe, Mount: "/data", IOPS: 3000}, {Size: pool.GiB, Storage: pool.NVMe, Mount: "/logs"},
		},
		Networks:    []pool.Network{{}, {Name: "br0"}},
		Constraints: pool.Constraints{Hosts: []pool.HostID{"d/h"}, Zones: []string{"north"}, Labels: map[string]string{"tier": "gold"}, Tolerations: []pool.Toleration{{Key: "gpu"}}},
		Labels:      map[string]string{"team": "web"},
		Guest:       pool.Guest{User: "ada", SSHKeys: []string{key("ssh-ed25519")}, UserData: "#cloud-config\nruncmd: [ 'a' ]\n"},
	}
}

func TestSpecValid(t *testing.T) {
	t.Parallel()
	require.NoError(t, goodSpec().Valid())
	require.NoError(t, pool.Spec{Image: "x"}.Valid())
	for name, c := range map[string]struct {
		change func(*pool.Spec)
		field  string
		kind   error
	}{
		"kind":               {func(s *pool.Spec) { s.Kind = "pod" }, "kind", nil},
		"image":              {func(s *pool.Spec) { s.Image = "a\nb" }, "image", nil},
		"no image":           {func(s *pool.Spec) { s.Image = "" }, "image", nil},
		"flavor":             {func(s *pool.Spec) { s.Flavor = "<a>" }, "flavor", nil},
		"class":              {func(s *pool.Spec) { s.Resources["a b"] = 1 }, "resources.class", nil},
		"negative":           {func(s *pool.Spec) { s.Resources[pool.CPU] = -1 }, "resources.cpu", nil},
		"storage":            {func(s *pool.Spec) { s.Resources[pool.StorageSSD] = 1 }, "resources", nil},
		"storage of no kind": {func(s *pool.Spec) { s.Resources["storage"] = 1 }, "resources", nil},
		"iops":               {func(s *pool.Spec) { s.Resources[pool.IOPSNVMe] = 1 }, "resources", nil},
		"instances":          {func(s *pool.Spec) { s.Resources[pool.Instances] = 1 }, "resources", nil},
		"disks":              {func(s *pool.Spec) { s.Disks = make([]pool.Disk, 17) }, "disks", nil},
		"no size":            {func(s *pool.Spec) { s.Disks[1].Size = 0 }, "disks[1].size", nil},
		"negative size":      {func(s *pool.Spec) { s.Disks[1].Size = math.MinInt64 }, "disks[1].size", nil},
		"negative iops":      {func(s *pool.Spec) { s.Disks[1].IOPS = -1 }, "disks[1].iops", nil},
		"storage kind":       {func(s *pool.Spec) { s.Disks[1].Storage = "s\nx" }, "disks[1].storage", nil},
		"root mount":         {func(s *pool.Spec) { s.Disks[0].Mount = "/data2" }, "disks[0].mount", nil},
		"mount":              {func(s *pool.Spec) { s.Disks[1].Mount = "/a b" }, "disks[1].mount", nil},
		"mount twice":        {func(s *pool.Spec) { s.Disks[2].Mount = "/data" }, "disks[2].mount", nil},
		"networks":           {func(s *pool.Spec) { s.Networks = make([]pool.Network, 17) }, "networks", nil},
		"network":            {func(s *pool.Spec) { s.Networks[1].Name = "<a>" }, "networks[1].name", nil},
		"label":              {func(s *pool.Spec) { s.Labels["a\n"] = "" }, "labels", nil},
		"label value":        {func(s *pool.Spec) { s.Labels["a"] = "\x00" }, "labels[a]", nil},
		"hosts":              {func(s *pool.Spec) { s.Constraints.Hosts = make([]pool.HostID, 1025) }, "constraints", nil},
		"host":               {func(s *pool.Spec) { s.Constraints.Hosts[0] = "x" }, "constraints.hosts[0]", nil},
		"zone":               {func(s *pool.Spec) { s.Constraints.Zones[0] = "a b" }, "constraints.zones[0]", nil},
		"wanted label":       {func(s *pool.Spec) { s.Constraints.Labels["a"] = "\n" }, "constraints.labels[a]", nil},
		"ability":            {func(s *pool.Spec) { s.Constraints.Abilities = []string{"a b"} }, "constraints.abilities[0]", nil},
		"toleration":         {func(s *pool.Spec) { s.Constraints.Tolerations[0].Key = "" }, "constraints.tolerations[0]", nil},
		"toleration's value": {func(s *pool.Spec) { s.Constraints.Tolerations[0].Value = "\n" }, "constraints.tolerations[0][gpu]", nil},
		"tolerations":        {func(s *pool.Spec) { s.Constraints.Tolerations = make([]pool.Toleration, 65) }, "constraints.tolerations", nil},
		"user":               {func(s *pool.Spec) { s.Guest.User = "Ada" }, "guest.user", nil},
		"keys":               {func(s *pool.Spec) { s.Guest.SSHKeys = make([]string, 65) }, "guest.ssh_keys", nil},
		"key":                {func(s *pool.Spec) { s.Guest.SSHKeys[0] = "x" }, "guest.ssh_keys[0]", nil},
		"user-data":          {func(s *pool.Spec) { s.Guest.UserData = strings.Repeat("a", pool.MaxUserData+1) }, "guest.user_data", nil},
		"binary user-data":   {func(s *pool.Spec) { s.Guest.UserData = "\x1f\x8b\x08" }, "guest.user_data", nil},
		"overflow": {func(s *pool.Spec) {
			s.Disks[1].Size, s.Disks[2].Size = math.MaxInt64, 1
		}, "disks[2].storage.nvme", pool.ErrOverflow},
		"iops overflow": {func(s *pool.Spec) {
			s.Disks[1].IOPS, s.Disks[2].IOPS = math.MaxInt64, 1
		}, "disks[2].iops.nvme", pool.ErrOverflow},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := goodSpec()
			c.change(&s)
			err := s.Valid()
			if c.kind == nil {
				c.kind = pool.ErrInvalid
			}
			require.ErrorIs(t, err, c.kind)
			harmless(t, err)
			var e *pool.Error
			require.True(t, errors.As(err, &e))
			require.Equal(t, c.field, e.Field)
		})
	}
}

func TestSpecDemand(t *testing.T) {
	t.Parallel()
	s := goodSpec()
	d, err := s.Demand()
	require.NoError(t, err)
	require.Equal(t, pool.Resources{
		pool.CPU: 2000, pool.Memory: 4 * pool.GiB, pool.GPU: 1, "licence.oracle": 1,
		pool.StorageStandard: 20 * pool.GiB, pool.StorageNVMe: 101 * pool.GiB, pool.IOPSNVMe: 3000,
	}, d)
	d[pool.CPU] = 0
	require.Equal(t, int64(2000), s.Resources[pool.CPU])
	s.Disks = []pool.Disk{{Size: math.MaxInt64, Storage: "a\n\x00"}, {Size: 1, Storage: "a\n\x00"}}
	_, err = s.Demand()
	require.ErrorIs(t, err, pool.ErrOverflow)
	harmless(t, err)
}

func TestSpecCloneIsDeep(t *testing.T) {
	t.Parallel()
	a := goodSpec()
	b := a.Clone()
	require.Equal(t, a, b)
	b.Resources[pool.CPU], b.Disks[0].Size, b.Networks[0].Name = 1, 1, "x"
	b.Labels["team"], b.Constraints.Labels["tier"], b.Constraints.Hosts[0], b.Constraints.Zones[0] = "x", "x", "d/x", "x"
	b.Guest.SSHKeys[0] = "x"
	require.Equal(t, goodSpec(), a)
}

func TestLimits(t *testing.T) {
	t.Parallel()
	spec := func(cores, gib int64, disks ...int64) pool.Spec {
		s := pool.Spec{Image: "x", Resources: pool.Resources{pool.CPU: cores, pool.Memory: gib}}
		for _, n := range disks {
			s.Disks = append(s.Disks, pool.Disk{Size: n})
		}
		s.Disks = append(s.Disks, pool.Disk{Size: 1, Storage: pool.NVMe})
		return s
	}
	l := pool.DefaultLimits()
	require.NoError(t, l.Check(spec(pool.Core, pool.GiB, pool.GiB-1)))
	require.NoError(t, l.Check(spec(32*pool.Core, 32*pool.GiB, pool.TiB-1)))
	for want, s := range map[string]pool.Spec{
		`cpu "0.999 cores" invalid: 1 core to 32 cores`:  spec(999, pool.GiB, pool.GiB),
		`cpu "32.001 cores" invalid: 1 core to 32 cores`: spec(32001, pool.GiB, pool.GiB),
		`memory "0 B" invalid: 1 GiB to 32 GiB`:          spec(1000, 0, pool.GiB),
		`memory "33 GiB" invalid: 1 GiB to 32 GiB`:       spec(1000, 33*pool.GiB, pool.GiB),
		`storage "1 B" invalid: 1 GiB to 1 TiB`:          spec(1000, pool.GiB),
		`storage "1.5 TiB" invalid: 1 GiB to 1 TiB`:      spec(1000, pool.GiB, pool.TiB, pool.TiB/2),
		`disks overflow: a sum within an int64`:          spec(1000, pool.GiB, math.MaxInt64),
	} {
		require.EqualError(t, l.Check(s), want)
	}
	own := pool.Limits{"licence": {Min: 2}, pool.GPU: {Max: 1}}
	require.EqualError(t, own.Check(pool.Spec{}), `licence "0" invalid: 2 or more`)
	require.NoError(t, own.Check(pool.Spec{Resources: pool.Resources{"licence": math.MaxInt64, pool.GPU: 1}}))
	require.ErrorIs(t, own.Check(pool.Spec{Resources: pool.Resources{"licence": 2, pool.GPU: 2}}), pool.ErrInvalid)
	require.NoError(t, pool.Limits(nil).Check(spec(0, 0)))
	require.ErrorIs(t, pool.Limits(nil).Check(spec(0, 0, math.MaxInt64, 1)), pool.ErrOverflow)
}

func FuzzSpecValid(f *testing.F) {
	good, err := json.Marshal(goodSpec())
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{
		string(good), `{}`, `{"image":"x"}`, `{"image":"x","disks":[{"size":-1}]}`, `{"image":"x","guest":{"user_data":"\u0000"}}`,
		`{"image":"x","resources":{"storage":1}}`, `{"image":"x","constraints":{"hosts":["a/b"]},"labels":{"a/b":"c"}}`,
	} {
		f.Add([]byte(s), "")
	}
	f.Add([]byte(`{"image":"x"}`), "\xff\x00")
	f.Fuzz(func(t *testing.T, b []byte, userData string) {
		var s pool.Spec
		if json.Unmarshal(b, &s) != nil {
			return
		}
		if userData != "" {
			s.Guest.UserData = userData
		}
		limited := pool.DefaultLimits().Check(s)
		if err := s.Valid(); err != nil {
			harmless(t, err)
			return
		}
		if limited != nil {
			harmless(t, limited)
		}
		out, err := json.Marshal(s)
		require.NoError(t, err)
		var back pool.Spec
		require.NoError(t, json.Unmarshal(out, &back))
		require.NoError(t, back.Valid())
		again, err := json.Marshal(back)
		require.NoError(t, err)
		require.Equal(t, string(out), string(again))
		require.Equal(t, s.Guest.UserData, back.Guest.UserData)
		demand, err := s.Demand()
		require.NoError(t, err)
		same, err := back.Clone().Demand()
		require.NoError(t, err)
		require.True(t, demand.Equal(same))
	})
}
