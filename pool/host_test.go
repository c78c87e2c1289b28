package pool_test

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
)

func TestConditions(t *testing.T) {
	t.Parallel()
	require.Equal(t, "unknown", pool.Conditions(0).String())
	s := pool.Ready.With(pool.Cordoned)
	require.Equal(t, "ready,cordoned", s.String())
	require.False(t, s.Schedulable())
	require.True(t, s.Without(pool.Cordoned).Schedulable())
	require.False(t, pool.Conditions(0).Schedulable())
	require.True(t, s.Has(pool.Ready|pool.Cordoned))
	require.False(t, s.Has(pool.Ready|pool.Fenced))
	for all := range pool.Conditions(32) {
		b, err := json.Marshal(all)
		require.NoError(t, err)
		var back pool.Conditions
		require.NoError(t, json.Unmarshal(b, &back))
		require.Equal(t, all, back)
	}
	for _, bad := range []string{`"ready"`, `["Ready"]`, `["ready","dead\n"]`, `[1]`, `7`, `{}`} {
		c := pool.Fenced
		require.Error(t, json.Unmarshal([]byte(bad), &c), bad)
		require.Equal(t, pool.Fenced, c, "%s has left a half", bad)
	}
}

func FuzzConditions(f *testing.F) {
	for _, s := range []string{`[]`, `null`, `["ready","fenced"]`, `["ready","ready"]`, `["x"]`, `{}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var c pool.Conditions
		if json.Unmarshal(b, &c) != nil {
			return
		}
		out, err := json.Marshal(c)
		require.NoError(t, err)
		var back pool.Conditions
		require.NoError(t, json.Unmarshal(out, &back))
		require.Equal(t, c, back)
		require.Less(t, c, pool.Conditions(32))
	})
}

func TestNormalizeHost(t *testing.T) {
	t.Parallel()
	labels := map[string]string{"tier": "gold"}
	in := pool.Host{
		ID: "d/h", Labels: labels, Kinds: []pool.Kind{pool.VM},
		Abilities: []string{"suspend", "meter", "suspend"}, Cost: 7,
		Taints:    []pool.Taint{{Key: "old", Effect: pool.PreferNoSchedule}, {Key: "gpu", Value: "a", Effect: pool.NoSchedule}, {Key: "old", Effect: pool.PreferNoSchedule}},
		Inventory: map[pool.Class]pool.Inventory{pool.CPU: {Total: 4}, pool.StorageSSD: {Total: 999, Ratio: 2000, StepSize: 4}},
		Devices: []pool.Device{
			{ID: "b", Class: pool.StorageSSD, Inventory: pool.Inventory{Total: 10, Reserved: 2, Ratio: 1500}, Labels: labels},
			{ID: "a", Class: pool.StorageSSD, Inventory: pool.Inventory{Total: 5}},
			{ID: "z", Class: pool.GPU, Inventory: pool.Inventory{Total: 1}},
		},
		Shapes: []pool.Shape{{Name: "s", Resources: pool.Resources{pool.CPU: 1}}},
	}
	out, err := in.Normalize()
	require.NoError(t, err)
	require.Equal(t, []string{"z", "a", "b"}, []string{out.Devices[0].ID, out.Devices[1].ID, out.Devices[2].ID}, "by class and id")
	require.Equal(t, pool.Inventory{Total: 15, Reserved: 2, StepSize: 4}, out.Inventory[pool.StorageSSD], "the sum of its devices")
	require.Equal(t, pool.Resources{pool.CPU: 4, pool.StorageSSD: 17, pool.GPU: 1}, out.Capacity())
	require.True(t, out.Aggregate())
	require.Equal(t, "b", out.Device("b").ID)
	require.Nil(t, out.Device("c"))
	require.Equal(t, []pool.Taint{{Key: "gpu", Value: "a", Effect: pool.NoSchedule}, {Key: "old", Effect: pool.PreferNoSchedule}}, out.Taints, "in order, each once")
	require.Equal(t, []string{"meter", "suspend"}, out.Abilities, "in order, each once")
	require.Equal(t, "gpu=a:no-schedule", out.Taints[0].String())
	require.Equal(t, "old:prefer-no-schedule", out.Taints[1].String())

	again, err := out.Normalize()
	require.NoError(t, err)
	require.Equal(t, out, again)

	// Deep: nothing of the input is shared.
	labels["tier"] = "lead"
	in.Inventory[pool.CPU] = pool.Inventory{}
	in.Devices[0].Total, in.Kinds[0], in.Taints[0].Key = 0, pool.Container, "new"
	in.Shapes[0].Resources[pool.CPU] = 7
	require.Equal(t, again, out)
	require.Equal(t, "gold", out.Devices[2].Labels["tier"])
}

func TestNormalizeRefuses(t *testing.T) {
	t.Parallel()
	device := func(d ...pool.Device) func(*pool.Host) { return func(h *pool.Host) { h.Devices = d } }
	disk := func(id string, total int64) pool.Device {
		return pool.Device{ID: id, Class: pool.StorageSSD, Inventory: pool.Inventory{Total: total}}
	}
	for name, c := range map[string]struct {
		change func(*pool.Host)
		err    error
	}{
		"no id":              {func(h *pool.Host) { h.ID = "" }, pool.ErrInvalid},
		"name":               {func(h *pool.Host) { h.Name = "a\nb" }, pool.ErrInvalid},
		"address":            {func(h *pool.Host) { h.Address = "\xff" }, pool.ErrInvalid},
		"zone":               {func(h *pool.Host) { h.Zone = "a b" }, pool.ErrInvalid},
		"label":              {func(h *pool.Host) { h.Labels = map[string]string{"<a>": ""} }, pool.ErrInvalid},
		"taint":              {func(h *pool.Host) { h.Taints = []pool.Taint{{Key: "a b", Effect: pool.NoSchedule}} }, pool.ErrInvalid},
		"taint's value":      {func(h *pool.Host) { h.Taints = []pool.Taint{{Key: "a", Value: "\n", Effect: pool.NoSchedule}} }, pool.ErrInvalid},
		"ability":            {func(h *pool.Host) { h.Abilities = []string{"a b"} }, pool.ErrInvalid},
		"abilities":          {func(h *pool.Host) { h.Abilities = make([]string, 65) }, pool.ErrInvalid},
		"cost":               {func(h *pool.Host) { h.Cost = -1 }, pool.ErrInvalid},
		"effect":             {func(h *pool.Host) { h.Taints = []pool.Taint{{Key: "a", Effect: "no-execute"}} }, pool.ErrInvalid},
		"taints":             {func(h *pool.Host) { h.Taints = make([]pool.Taint, 65) }, pool.ErrInvalid},
		"kind":               {func(h *pool.Host) { h.Kinds = []pool.Kind{"zone\n"} }, pool.ErrInvalid},
		"conditions":         {func(h *pool.Host) { h.Conditions = 1 << 5 }, pool.ErrInvalid},
		"class":              {func(h *pool.Host) { h.Inventory["a\nb"] = pool.Inventory{} }, pool.ErrInvalid},
		"negative":           {func(h *pool.Host) { h.Inventory[pool.CPU] = pool.Inventory{Total: -1} }, pool.ErrInvalid},
		"ratio":              {func(h *pool.Host) { h.Inventory[pool.CPU] = pool.Inventory{Ratio: -1} }, pool.ErrInvalid},
		"device id":          {device(disk("a\nb", 1)), pool.ErrInvalid},
		"device without id":  {device(disk("", 1)), pool.ErrInvalid},
		"device twice":       {device(disk("a", 1), pool.Device{ID: "a", Class: pool.GPU}), pool.ErrInvalid},
		"device class":       {device(pool.Device{ID: "a", Class: "<x>"}), pool.ErrInvalid},
		"device label":       {device(pool.Device{ID: "a", Class: pool.GPU, Labels: map[string]string{"a\n": ""}}), pool.ErrInvalid},
		"negative device":    {device(disk("a", -1)), pool.ErrInvalid},
		"device with limits": {device(pool.Device{ID: "a", Class: pool.GPU, Inventory: pool.Inventory{MaxUnit: 1}}), pool.ErrInvalid},
		"overflow":           {device(disk("a", math.MaxInt64), disk("b", 1)), pool.ErrOverflow},
		"overflow by ratio":  {device(pool.Device{ID: "a", Class: pool.GPU, Inventory: pool.Inventory{Total: math.MaxInt64 / 2, Ratio: 2000}}, pool.Device{ID: "b", Class: pool.GPU, Inventory: pool.Inventory{Total: 2}}), pool.ErrOverflow},
		"shape name":         {func(h *pool.Host) { h.Shapes = []pool.Shape{{Name: "a b"}} }, pool.ErrInvalid},
		"shape twice":        {func(h *pool.Host) { h.Shapes = []pool.Shape{{Name: "a"}, {Name: "a"}} }, pool.ErrInvalid},
		"shape resources":    {func(h *pool.Host) { h.Shapes = []pool.Shape{{Name: "a", Resources: pool.Resources{"x": -1}}} }, pool.ErrInvalid},
		"counted by quotas":  {func(h *pool.Host) { h.Inventory[pool.Instances] = pool.Inventory{Total: 1} }, pool.ErrInvalid},
		"devices of the sum": {device(pool.Device{ID: "a", Class: pool.Instances}), pool.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := pool.Host{ID: "d/h", Inventory: map[pool.Class]pool.Inventory{}}
			c.change(&h)
			_, err := h.Normalize()
			require.ErrorIs(t, err, c.err)
			harmless(t, err)
		})
	}
}
