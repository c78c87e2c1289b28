package pool_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
)

// tree folds projects, given as "name" or "name in parent", and one host.
func tree(t testing.TB, projects ...string) (*tape, *pool.State) {
	t.Helper()
	p, s := &tape{t: t}, pool.NewState()
	apply := func(kind string, payload any) {
		e := p.next(kind, payload)
		require.NoError(t, s.Apply(&e))
	}
	apply(pool.KindHostPut, &pool.HostPut{Host: serverHost("d/h00")})
	for _, def := range projects {
		name, parent, _ := strings.Cut(def, " in ")
		apply(pool.KindProjectPut, &pool.Project{Name: name, Parent: parent})
	}
	return p, s
}

func totalOf(t testing.TB, s *pool.State, project string) pool.Resources {
	t.Helper()
	p, ok := s.Project(project)
	require.True(t, ok)
	return p.Total()
}

// What an instance takes counts in its project and in all that it lies in, whatever becomes of it, and wherever projects go.
func TestSubtreesAreSums(t *testing.T) {
	t.Parallel()
	p, s := tree(t, "org", "team in org", "web in team", "lab in org", "other")
	do := func(kind string, payload any) {
		e := p.next(kind, payload)
		require.NoError(t, s.Apply(&e))
		checkBooks(t, s, true)
	}
	launch := func(n int, project, owner string, cores int64) {
		l := launched(everyInstance[n], pool.Placement{Host: "d/h00", Allocation: pool.Allocation{Resources: pool.Resources{pool.CPU: cores * pool.Core}}})
		l.Project, l.Owner = project, owner
		do(pool.KindLaunched, l)
	}
	cores := func(project string) int64 { return totalOf(t, s, project)[pool.CPU] / pool.Core }
	launch(0, "web", "u-1", 1)
	launch(1, "team", "u-1", 2)
	launch(2, "lab", "", 4)
	launch(3, "org", "u-2", 8)
	require.Equal(t, []int64{15, 3, 1, 4, 0}, []int64{cores("org"), cores("team"), cores("web"), cores("lab"), cores("other")})
	require.EqualValues(t, 1, s.OwnerUsed("web", "u-1")[pool.Instances])
	require.EqualValues(t, 2000, s.OwnerUsed("team", "u-1")[pool.CPU], "those below are not counted")

	do(pool.KindProjectPut, &pool.Project{Name: "team", Parent: "other"})
	require.Equal(t, []int64{12, 3, 3}, []int64{cores("org"), cores("team"), cores("other")})
	do(pool.KindProjectPut, &pool.Project{Name: "web", Parent: "other"})
	require.Equal(t, []int64{2, 3}, []int64{cores("team"), cores("other")}, "from below a project to beside it")
	do(pool.KindProjectPut, &pool.Project{Name: "team", Parent: "web"})
	require.Equal(t, []int64{3, 3}, []int64{cores("web"), cores("other")})
	do(pool.KindProjectPut, &pool.Project{Name: "web"})
	require.Equal(t, []int64{3, 0}, []int64{cores("web"), cores("other")})
	do(pool.KindFailed, &pool.Ended{Instance: everyInstance[1]})
	require.Equal(t, []int64{0, 1}, []int64{cores("team"), cores("web")})
	require.Empty(t, s.OwnerUsed("team", "u-1"))
}

func TestProjectsInProjects(t *testing.T) {
	t.Parallel()
	deep := []string{"p1"}
	for n := 2; n <= pool.MaxDepth; n++ {
		deep = append(deep, fmt.Sprintf("p%d in p%d", n, n-1))
	}
	for name, c := range map[string]struct {
		there   []string
		kind    string
		payload any
		want    error
	}{
		"in itself":                 {[]string{"a"}, pool.KindProjectPut, &pool.Project{Name: "a", Parent: "a"}, pool.ErrInvalid},
		"a new one in itself":       {nil, pool.KindProjectPut, &pool.Project{Name: "a", Parent: "a"}, pool.ErrNotFound},
		"in none that is there":     {nil, pool.KindProjectPut, &pool.Project{Name: "a", Parent: "b"}, pool.ErrNotFound},
		"in one below it":           {[]string{"a", "b in a", "c in b"}, pool.KindProjectPut, &pool.Project{Name: "a", Parent: "c"}, pool.ErrInvalid},
		"too deep":                  {deep, pool.KindProjectPut, &pool.Project{Name: "a", Parent: "p8"}, pool.ErrInvalid},
		"deepest":                   {deep, pool.KindProjectPut, &pool.Project{Name: "a", Parent: "p7"}, nil},
		"too deep with what it has": {append(deep, "a", "b in a"), pool.KindProjectPut, &pool.Project{Name: "a", Parent: "p7"}, pool.ErrInvalid},
		"just deep enough with it":  {append(deep, "a", "b in a"), pool.KindProjectPut, &pool.Project{Name: "a", Parent: "p6"}, nil},
		"removed under another":     {[]string{"a", "b in a"}, pool.KindProjectRemoved, &pool.Named{Name: "a"}, pool.ErrInUse},
		"removed from below":        {[]string{"a", "b in a"}, pool.KindProjectRemoved, &pool.Named{Name: "b"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, s := tree(t, c.there...)
			before := s.Clone()
			e := p.next(c.kind, c.payload)
			err := s.Apply(&e)
			checkBooks(t, s, true)
			if c.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, c.want)
			equal(t, before, s)
		})
	}
	require.EqualValues(t, 8, pool.MaxDepth)

	_, s := tree(t, "a", "b in a", "c in b", "d")
	require.True(t, s.Lies("c", "a"))
	require.True(t, s.Lies("a", "a"))
	require.False(t, s.Lies("a", "c"))
	require.False(t, s.Lies("d", "a"))
	require.False(t, s.Lies("nobody", "a"))
}

// A sum that no int64 holds is refused wherever it would be, and leaves no trace in the sums before it.
func TestSubtreesOverflow(t *testing.T) {
	t.Parallel()
	for _, over := range []bool{false, true} {
		p, s := tree(t, "org", "a in org", "b in org", "huge")
		launch := func(s *pool.State, n int, project, owner string, amount int64) error {
			l := launched(everyInstance[n], pool.Placement{Host: "d/h00", Allocation: pool.Allocation{Resources: pool.Resources{"own": amount}}})
			l.Project, l.Owner = project, owner
			e := p.next(pool.KindLaunched, l)
			return s.Apply(&e)
		}
		on := s
		if over {
			on = s.Overlay()
			e := p.next(pool.KindHostPut, &pool.HostPut{Host: serverHost("d/h00")})
			require.NoError(t, on.Apply(&e))
		}
		require.NoError(t, launch(on, 0, "a", "u-1", math.MaxInt64/2))
		require.NoError(t, launch(on, 1, "b", "u-1", math.MaxInt64/2))
		before := on.Clone()
		require.ErrorIs(t, launch(on, 2, "b", "u-1", 3), pool.ErrOverflow)
		equal(t, before, on)
		checkBooks(t, on, !over)
	}
}

func TestTenantValid(t *testing.T) {
	t.Parallel()
	many := make(map[string]pool.Resources)
	for n := range pool.MaxUsers + 1 {
		many[fmt.Sprint(n)] = nil
	}
	for name, c := range map[string]struct {
		p     pool.Project
		field string
	}{
		"good":              {pool.Project{Name: "a", Parent: "b", PerUser: pool.Resources{pool.CPU: 1}, Users: map[string]pool.Resources{"auth0|7": {pool.CPU: 0}}}, ""},
		"hostile parent":    {pool.Project{Name: "a", Parent: "b/../c"}, "parent"},
		"negative for all":  {pool.Project{Name: "a", PerUser: pool.Resources{pool.CPU: -1}}, "per_user.cpu"},
		"negative for one":  {pool.Project{Name: "a", Users: map[string]pool.Resources{"u": {pool.CPU: -1}}}, `users["u"].cpu`},
		"nobody":            {pool.Project{Name: "a", Users: map[string]pool.Resources{"": nil}}, "users.owner"},
		"line break":        {pool.Project{Name: "a", Users: map[string]pool.Resources{"a\nb": nil}}, "users.owner"},
		"many":              {pool.Project{Name: "a", Users: many}, "users"},
		"negative of quota": {pool.Project{Name: "a", Quota: pool.Resources{pool.CPU: -1}}, "quota.cpu"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.p.Valid()
			if c.field == "" {
				require.NoError(t, err)
				return
			}
			var e *pool.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, c.field, e.Field)
		})
	}
}

func TestProjectEqualAndClone(t *testing.T) {
	t.Parallel()
	make := func() pool.Project {
		return pool.Project{Name: "a", Parent: "b", Weight: 2, Quota: pool.Resources{pool.CPU: 0}, PerUser: pool.Resources{pool.CPU: 2},
			Users: map[string]pool.Resources{"u": {pool.CPU: 3}}}
	}
	for name, change := range map[string]func(*pool.Project){
		"name":     func(p *pool.Project) { p.Name = "x" },
		"parent":   func(p *pool.Project) { p.Parent = "" },
		"weight":   func(p *pool.Project) { p.Weight = 1 },
		"quota":    func(p *pool.Project) { delete(p.Quota, pool.CPU) },
		"per user": func(p *pool.Project) { p.PerUser[pool.CPU] = 1 },
		"user":     func(p *pool.Project) { p.Users["u"][pool.CPU] = 1 },
		"users":    func(p *pool.Project) { p.Users["v"] = nil },
	} {
		p := make()
		c := p.Clone()
		require.True(t, p.Equal(c))
		change(&c)
		require.False(t, p.Equal(c), name)
		require.True(t, p.Equal(make()), "a copy of %s is not the same thing", name)
	}
	p := make()
	p.PerUser[pool.Memory] = 5
	require.Equal(t, pool.Resources{pool.CPU: 3, pool.Memory: 5}, p.LimitsOf("u"))
	require.Equal(t, p.PerUser, p.LimitsOf("v"))
	require.Nil(t, p.LimitsOf(""))
	require.EqualValues(t, 2, p.PerUser[pool.CPU])
}
