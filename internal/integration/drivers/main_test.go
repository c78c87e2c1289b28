package main

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/hypervisor/hypervisortest"
	"github.com/berthage/berthage/pool"
)

func TestDocumentIsUpToDate(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/drivers.md")
	require.NoError(t, err)
	want, err := splice(string(text))
	require.NoError(t, err)
	require.Equal(t, want, string(text), "run make generate")
	_, err = splice("no place for it")
	require.Error(t, err)
}

// The table has a row for every ability that package hypervisor names.
func TestRowsAreAllAbilities(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "../../../hypervisor/abilities.go", nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	var want, got []string
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			if typ, ok := v.Type.(*ast.Ident); ok && typ.Name == "Ability" {
				name, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				require.NoError(t, err)
				want = append(want, name)
			}
		}
		return true
	})
	for _, r := range rows() {
		got = append(got, string(r.ability))
	}
	require.NotEmpty(t, want)
	require.ElementsMatch(t, want, got)
}

// later is a driver that can suspend and move machines, and describes nothing before it has reached its hosts.
type later struct {
	hypervisor.Driver
	hypervisor.Suspender
	hypervisor.Migrator
}

func (later) Describe(pool.HostID) hypervisor.Capabilities { return hypervisor.Capabilities{} }

// What a driver has and does not describe yet needs a word about when; what it does not have must not be spoken of.
func TestEveryYesIsExplained(t *testing.T) {
	t.Parallel()
	d := driver{name: "later", driver: later{}, host: "later/h1"}
	_, err := document([]driver{d})
	require.ErrorContains(t, err, `later: it implements "suspend"`)
	d.notes = map[hypervisor.Ability]string{hypervisor.CanSuspend: "on Sundays", hypervisor.CanMigrate: "on Sundays", firstBoot: "at night"}
	table, err := document([]driver{d})
	require.NoError(t, err)
	for _, want := range []string{
		"| `suspend`: suspend and resume | yes (1) |", "| `migrate`: move a stopped machine to another host | yes (1) |",
		"| `migrate-live`: move a running one | no |", "| `fence`: switch a host off, with a proof | no |",
		"at first boot | yes (2) |", "| not known |", "\n1. on Sundays\n2. at night\n",
	} {
		require.Contains(t, table, want)
	}
	d.notes[hypervisor.CanFence] = "never"
	_, err = document([]driver{d})
	require.ErrorContains(t, err, `its notes speak of "fence"`)
}

// put leaves a report as the suite does.
func put(t *testing.T, dir, name string, outcome hypervisortest.Outcome, c hypervisor.Capabilities) {
	t.Helper()
	b, err := json.Marshal(hypervisortest.Report{Driver: name, Capabilities: c, Results: []hypervisortest.Result{
		{Case: hypervisortest.Case{Name: "start", Rule: "start starts"}, Outcome: outcome, Detail: "it does not"},
	}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, name+".json"), b, 0o600))
}

func TestCompare(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var out bytes.Buffer
	require.ErrorContains(t, compare(&out, dir), "no reports")

	all := fake.New(fake.Config{}).Describe("fake/any")
	put(t, dir, "fake", hypervisortest.Pass, all)
	put(t, dir, "customdriver", hypervisortest.Pass, hypervisor.Capabilities{})
	put(t, dir, "libvirt qemu", hypervisortest.NotOffered, hypervisor.Capabilities{Abilities: []hypervisor.Ability{hypervisor.CanMeter}})
	require.NoError(t, compare(&out, dir))
	require.Regexp(t, `(?m)^case +fake +libvirt qemu +customdriver$`, out.String())
	require.Regexp(t, `(?m)^start +pass +not offered +pass$`, out.String())
	require.Contains(t, out.String(), "NOT RUN: the driver suite on libvirt test nodes: ")
	require.NotContains(t, out.String(), "NOT RUN: the driver suite on fake")

	put(t, dir, "libvirt qemu", hypervisortest.Fail, hypervisor.Capabilities{Abilities: []hypervisor.Ability{hypervisor.CanFence}})
	put(t, dir, "fake", hypervisortest.Pass, hypervisor.Capabilities{FirstBoot: true, Abilities: slices.DeleteFunc(all.Abilities,
		func(a hypervisor.Ability) bool { return a == hypervisor.CanWatch })})
	put(t, dir, "another", hypervisortest.Pass, hypervisor.Capabilities{})
	err := compare(&out, dir)
	require.ErrorContains(t, err, "libvirt qemu:\nstart: it does not (the rule: start starts)")
	require.ErrorContains(t, err, `libvirt offers "fence", and docs/drivers.md says that it does not`)
	require.ErrorContains(t, err, `says that fake offers "watch", and none of its reports does`)
	require.ErrorContains(t, err, `a report of "another"`)
	require.Equal(t, 3, strings.Count(err.Error(), "offers")+strings.Count(err.Error(), "a report of"), err)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "bad.json"), []byte("{"), 0o600))
	require.ErrorContains(t, compare(&out, dir), "bad.json")
}
