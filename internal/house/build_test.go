package house_test

import (
	"go/version"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// peers are the modules that make bench-peers and make bench-alerts build, and make test-all with them. They are too much for
// everything that is done in every module, and stand in no workspace, whose other modules would get their requirements.
func peers() []string { return []string{"internal/peerbench/peers", "internal/peerbench/rules"} }

// systems are those for which everything must build.
func systems() []string { return []string{"linux", "darwin", "windows"} }

// everywhere returns the systems for which a module is built now. The examples have a whole Prometheus below them, which takes minutes for
// each; but for this system they are built where BERTHAGE_SYSTEMS is all, as in make test-all.
func everywhere(mod string) []string {
	if mod == "examples" && os.Getenv("BERTHAGE_SYSTEMS") != "all" {
		return []string{runtime.GOOS}
	}
	return systems()
}

// light returns the modules but for the peers.
func light(t *testing.T) []string {
	t.Helper()
	all := modules(t)
	mods := slices.DeleteFunc(slices.Clone(all), func(mod string) bool { return slices.Contains(peers(), mod) })
	require.Len(t, mods, len(all)-len(peers()), "no modules %s", peers())
	return mods
}

// Every package of every module but the peers builds for every system, the examples at least for this one; those of the root module with their tests.
func TestBuildsEverywhere(t *testing.T) {
	t.Parallel()
	for _, mod := range light(t) {
		for _, goos := range everywhere(mod) {
			what := "build"
			if mod == "." {
				what = "vet"
			}
			_, err := goCommand(t, mod, goos, what, "./...")
			require.NoError(t, err)
		}
	}
}

// The workspace has every module and is no older than the newest of them; the root module asks importers for
// no newer Go than it needs; what is not the root module takes that from its own tree.
func TestModules(t *testing.T) {
	t.Parallel()
	var use []string
	for _, m := range regexp.MustCompile(`(?m)^(?:use)?\s+(\.\S*)$`).FindAllStringSubmatch(read(t, "go.work"), -1) {
		use = append(use, strings.TrimPrefix(m[1], "./"))
	}
	slices.Sort(use)
	mods := light(t)
	slices.Sort(mods)
	require.Equal(t, mods, use, "go.work")
	require.Contains(t, read(t, "Makefile"), "\nPEERS := "+strings.Join(peers(), " ")+"\n")

	goOf := func(file string) string {
		m := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(read(t, file))
		require.NotNil(t, m, file)
		require.True(t, version.IsValid("go"+m[1]), file)
		return "go" + m[1]
	}
	require.Equal(t, "go1.25.0", goOf("go.mod"))
	newest := goOf("go.mod")
	for _, mod := range append(mods, peers()...) {
		file := mod + "/go.mod"
		if v := goOf(file); version.Compare(v, newest) > 0 {
			newest = v
		}
		if mod == "." {
			require.NotContains(t, read(t, file), "replace", "importers do not get replacements")
			continue
		}
		up := strings.TrimSuffix(strings.Repeat("../", strings.Count(mod, "/")+1), "/")
		require.Regexp(t, `(?m)^replace `+regexp.QuoteMeta(module)+` => `+regexp.QuoteMeta(up)+`/?$`, read(t, file), file)
	}
	require.Equal(t, newest, goOf("go.work"))
}

// Every package that has tests is run by exactly one part of make test.
func TestEveryTestIsRun(t *testing.T) {
	t.Parallel()
	makefile := strings.ReplaceAll(read(t, "Makefile"), "\\\n", "")
	parts := regexp.MustCompile(`(?m)^PARTS := (.*)$`).FindStringSubmatch(makefile)
	require.NotNil(t, parts)
	together := regexp.MustCompile(`\$\(addprefix ([^,]*),([^)]*)\)`)
	runs := make(map[string][]string) // module: patterns
	for _, m := range regexp.MustCompile(`(?m)^(test-[a-z]+)-packages := (.*)$`).FindAllStringSubmatch(makefile, -1) {
		require.Contains(t, strings.Fields(parts[1]), m[1])
		patterns := together.ReplaceAllStringFunc(m[2], func(s string) string {
			add := together.FindStringSubmatch(s)
			return add[1] + strings.Join(strings.Fields(add[2]), " "+add[1])
		})
		for _, p := range strings.Fields(patterns) {
			mod, pattern, ok := strings.Cut(p, ":")
			if !ok {
				mod, pattern = ".", p
			}
			runs[mod] = append(runs[mod], pattern)
		}
	}
	for _, name := range files(t, isTest) {
		for _, mod := range peers() {
			require.False(t, strings.HasPrefix(name, mod+"/"), "%s is run by no part of make test: tests belong into internal/peerbench", name)
		}
	}
	for _, mod := range light(t) {
		count := make(map[string]int)
		for _, pattern := range runs[mod] {
			without := strings.Split(pattern, "!")
			for _, p := range list(t, mod, runtime.GOOS, without[0]) {
				if !slices.ContainsFunc(without[1:], func(dir string) bool { return strings.Contains(p.ImportPath+"/", dir+"/") }) {
					count[p.ImportPath]++
				}
			}
		}
		for _, p := range list(t, mod, runtime.GOOS, "./...") {
			if n := count[p.ImportPath]; len(p.TestGoFiles)+len(p.XTestGoFiles) > 0 && n != 1 {
				t.Errorf("%s has tests, and %d parts of make test run them: see the Makefile's variables test-*-packages", p.ImportPath, n)
			}
		}
	}
}
