package pool_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
)

// fill sets everything that v has to random values, some of them zero and some hostile.
func fill(r *rand.Rand, v reflect.Value) {
	if r.IntN(4) == 0 {
		v.SetZero()
		return
	}
	if t, ok := v.Addr().Interface().(*time.Time); ok {
		*t = time.Unix(r.Int64N(4e9), r.Int64N(2)*123_456_000).UTC()
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString([]string{"web", "a b", "<x>&", "\"\\\n\x00\x7f", "\xff\xfe", "\u2028é世", "storage.ssd", "~ !"}[r.IntN(8)])
	case reflect.Int, reflect.Int64:
		v.SetInt([]int64{1, -1, 1000, math.MaxInt64, math.MinInt64}[r.IntN(5)])
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(3), 3))
		for i := range v.Len() {
			fill(r, v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range r.IntN(12) {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(r, key)
			fill(r, value)
			v.SetMapIndex(key, value)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(r, v.Field(i))
		}
	default:
		panic("no value for " + v.Type().String()) // somebody has added a field of another kind
	}
}

// What is written by hand is what encoding/json would have written, whatever fields are added.
func TestLaunchedIsEncodedAsJSON(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	for range 20_000 {
		var p pool.Launched
		fill(r, reflect.ValueOf(&p).Elem())
		got, err := pool.NewEvent(pool.KindLaunched, &p)
		require.NoError(t, err)
		data, guest := p, p.Spec.Guest
		if reflect.ValueOf(guest).IsZero() {
			guest = p.Guest
		}
		if p.Cluster == "" {
			data.Spec.Guest = pool.Guest{}
			want, err := json.Marshal(&guest)
			require.NoError(t, err)
			require.Equal(t, string(want), string(got.Private))
		}
		want, err := json.Marshal(&data)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got.Data))

		want, err = json.Marshal(map[pool.Class]int64(p.Place.Allocation.Resources))
		require.NoError(t, err)
		if p.Place.Allocation.Resources == nil {
			want = []byte("{}")
		}
		resources, err := json.Marshal(p.Place.Allocation.Resources)
		require.NoError(t, err)
		require.Equal(t, string(want), string(resources))
	}
}
