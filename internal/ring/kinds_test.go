package ring_test

import (
	"log/slog"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/internal/ring"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// What is remembered of a kind of launches ends with what it rests on, and is of launches of that kind alone.
func TestKinds(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r, err := ring.Open(ctx, ring.Config{
		Ledger: pool.NewMemoryLedger(), Logger: slog.New(slog.DiscardHandler), Limits: pool.Limits{pool.CPU: {Max: 8 * pool.Core}},
	})
	require.NoError(t, err)
	t.Cleanup(r.Close)
	do := func(c ring.Command) error { return r.Do(ctx, c, ring.Caller{Actor: "test"}) }
	put := func(p ring.Put) { require.NoError(t, do(ring.Command{Put: &p})) }
	image := func(user string) *pool.Image {
		return &pool.Image{Name: "debian-12", User: user, Sources: map[string]string{"d": "debian.qcow2"}}
	}
	flavor := func(cores int64) *pool.Flavor {
		return &pool.Flavor{Name: "small", Resources: pool.Resources{pool.CPU: cores * pool.Core, pool.Memory: pool.GiB}}
	}
	put(ring.Put{Project: &pool.Project{Name: "web"}})
	put(ring.Put{Image: image("debian")})
	put(ring.Put{Flavor: flavor(1)})
	launch := func(token string, change func(*pool.Spec)) (pool.Instance, error) {
		spec := pool.Spec{Image: "debian-12", Flavor: "small"}
		if change != nil {
			change(&spec)
		}
		err := do(ring.Command{Launch: &ring.Launch{Token: token, Project: "web", Name: token, Spec: spec, Wait: true}})
		var i pool.Instance
		r.View(func(st *pool.State) {
			if p, ok := st.Instance(st.InstanceFor("web", token)); ok {
				i = *p
			}
		})
		return i, err
	}
	first, err := launch("first", nil)
	require.NoError(t, err)
	require.Equal(t, pool.Core, first.Spec.Resources[pool.CPU])

	asked := map[string]string{"app": "shop"}
	labelled, err := launch("labelled", func(s *pool.Spec) { s.Labels, s.Guest.User = asked, "ann" })
	require.NoError(t, err)
	require.Equal(t, map[string]string{"app": "shop"}, labelled.Spec.Labels)
	asked["app"] = "blog" // the caller's own
	again, err := launch("again", func(s *pool.Spec) { s.Labels = map[string]string{"app": "shop"} })
	require.NoError(t, err)
	require.Equal(t, map[string]string{"app": "shop"}, again.Spec.Labels)
	require.Equal(t, "ann", labelled.Spec.Guest.User)
	require.Equal(t, "debian", again.Spec.Guest.User)

	for name, change := range map[string]func(*pool.Spec){
		"priority": func(s *pool.Spec) { s.Priority = 5 },
		"lifetime": func(s *pool.Spec) { s.Lifetime = 5 },
		"networks": func(s *pool.Spec) { s.Networks = []pool.Network{{Name: "lan"}} },
		"disks":    func(s *pool.Spec) { s.Disks = []pool.Disk{{Size: 0}} },
		"size":     func(s *pool.Spec) { s.Resources = pool.Resources{"licence": 1} },
		"guest":    func(s *pool.Spec) { s.Guest.User = "no user" },
		"preempt":  func(s *pool.Spec) { s.Preemptible = pool.PreemptDelete },
		"labels":   func(s *pool.Spec) { s.Labels = map[string]string{"no\nkey": "x"} },
		"kind":     func(s *pool.Spec) { s.Kind = pool.Container },
		"zones":    func(s *pool.Spec) { s.Constraints.Zones = []string{"z1"} },
	} {
		spec := pool.Spec{Image: "debian-12", Flavor: "small"}
		change(&spec)
		var fresh scheduler.Request // which remembers nothing
		var err error
		r.View(func(st *pool.State) {
			fresh, err = r.Resolve(st, ring.Launch{Token: name, Project: "web", Name: name, Spec: spec})
		})
		_, got := launch("before-"+name, nil)
		require.NoError(t, got)
		i, got := launch(name, change)
		require.Equal(t, err == nil, got == nil, "%s: %v, %v", name, err, got)
		if err != nil {
			require.EqualError(t, got, err.Error())
			continue
		}
		require.Equal(t, fresh.Spec, i.Spec, name)
	}

	put(ring.Put{Flavor: flavor(2)})
	put(ring.Put{Image: image("admin")})
	later, err := launch("later", nil)
	require.NoError(t, err)
	require.Equal(t, 2*pool.Core, later.Spec.Resources[pool.CPU])
	require.Equal(t, "admin", later.Spec.Guest.User)
	put(ring.Put{Flavor: flavor(9)})
	_, err = launch("large", nil)
	require.ErrorIs(t, err, pool.ErrInvalid)
	require.NoError(t, do(ring.Command{Remove: &ring.Remove{Flavor: "small"}}))
	_, err = launch("none", nil)
	require.ErrorIs(t, err, pool.ErrNotFound)
}

// No field of a spec is forgotten where kinds are compared.
func TestKindsKnowAllOfASpec(t *testing.T) {
	t.Parallel()
	whole := reflect.TypeFor[pool.Spec]()
	for at := range whole.NumField() {
		var plain, other pool.Spec
		v := reflect.ValueOf(&other).Elem().Field(at)
		switch v.Kind() {
		case reflect.String:
			v.SetString("x")
		case reflect.Int, reflect.Int64:
			v.SetInt(1)
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		case reflect.Map:
			v.Set(reflect.MakeMap(v.Type()))
			key := reflect.New(v.Type().Key()).Elem()
			key.SetString("x")
			value := reflect.New(v.Type().Elem()).Elem()
			if value.CanInt() {
				value.SetInt(1)
			}
			v.SetMapIndex(key, value)
		case reflect.Struct:
			v.Field(0).Set(map[string]reflect.Value{
				"Constraints": reflect.ValueOf([]pool.HostID{"d/h"}), "Guest": reflect.ValueOf("ann"),
			}[whole.Field(at).Name])
		default:
			require.Fail(t, "no value for "+whole.Field(at).Name)
		}
		switch name := whole.Field(at).Name; name {
		case "Guest", "Labels": // each instance's own
			require.True(t, ring.SameKind(plain, other), name)
		default:
			require.False(t, ring.SameKind(plain, other), name)
		}
	}
}
