package daemon_test

import (
	"encoding/csv"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/examples/berthd/daemon"
)

// A project lies in another, whose limits hold for it too; what somebody may take of it is limited; and who needs more asks.
func TestProjectsWithinProjects(t *testing.T) {
	t.Parallel()
	r := start(t, 2)
	projects := "/api/v1/projects"
	r.call(http.MethodPut, projects+"/firm", object{"quota": object{"cpu": 3000}}).want(http.StatusOK)
	shop := object{"quota": object{"cpu": 2000}, "parent": "firm", "per_user": object{"instances": 3}, "users": object{"u1": object{"instances": 5}}, "weight": 2}
	got := r.call(http.MethodPut, projects+"/shop", shop).want(http.StatusOK)
	require.Equal(t, "firm", got.at("parent"))
	require.InDelta(t, 3, got.at("per_user", "instances"), 0)
	require.InDelta(t, 5, got.at("users", "u1", "instances"), 0)
	kept := r.call(http.MethodPut, projects+"/shop", object{"quota": object{"cpu": 2000}}).want(http.StatusOK)
	require.Equal(t, "firm", kept.at("parent"), "what is not said stays")
	require.InDelta(t, 3, kept.at("per_user", "instances"), 0)
	require.InDelta(t, 5, kept.at("users", "u1", "instances"), 0)
	gone := r.call(http.MethodPut, projects+"/shop", object{"quota": object{"cpu": 2000}, "parent": "", "per_user": object{}, "users": object{}}).want(http.StatusOK).body
	for _, field := range []string{"parent", "per_user", "users"} {
		require.NotContains(t, string(gone), `"`+field+`"`)
	}
	r.call(http.MethodPut, projects+"/shop", shop).want(http.StatusOK)
	r.call(http.MethodPut, projects+"/firm", object{"quota": object{"cpu": 3000}, "parent": "shop"}).want(http.StatusUnprocessableEntity)
	r.call(http.MethodPut, projects+"/shop", object{"quota": object{}, "parent": "nope"}).problem(422, "unknown-reference")
	r.call(http.MethodDelete, projects+"/firm", nil).problem(409, "in-use")
	body := vm("a")
	body["project"] = "shop"
	r.launch(body)
	require.InDelta(t, 1000, r.get(projects + "/firm").want(http.StatusOK).at("quota").([]any)[0].(object)["used"], 0, "what lies in it counts")

	asks := projects + "/shop/quota-requests"
	more := func(id string, cpu int) object {
		return object{"id": id, "quota": object{"cpu": cpu}, "reason": "the sale"}
	}
	a := r.post(asks, more("one", 4000)).want(http.StatusCreated)
	require.Equal(t, "open", a.at("status"))
	require.Equal(t, r.actor(), a.at("by"))
	before := r.commanded()
	r.post(asks, more("one", 4000)).want(http.StatusCreated)
	require.Equal(t, before, r.commanded(), "the same again is the same request")
	r.post(asks, more("one", 5000)).problem(409, "already-exists")
	r.post(asks, more("less", 1000)).problem(422, "invalid-value")
	r.post(projects+"/nope/quota-requests", more("one", 4000)).problem(404, "not-found")
	r.post(asks, more("two", 3000)).want(http.StatusCreated)
	r.post(asks, more("three", 3000)).want(http.StatusCreated)
	r.post(asks+"/two/refuse", object{"reason": "no money"}).want(http.StatusOK)
	r.post(asks+"/three/withdraw", nil).want(http.StatusOK)
	require.InDelta(t, 2000, r.get(projects + "/shop").at("quota").([]any)[0].(object)["limit"], 0)
	r.post(asks+"/one/grant", object{"quota": object{"cpu": 5000}}).problem(422, "invalid-value")
	granted := r.post(asks+"/one/grant", object{"quota": object{"cpu": 3500}}).want(http.StatusOK)
	require.InDelta(t, 3500, granted.at("given", "cpu"), 0)
	require.InDelta(t, 3500, r.get(projects + "/shop").at("quota").([]any)[0].(object)["limit"], 0)
	r.post(asks+"/one/refuse", object{"reason": "no"}).problem(409, "wrong-state")
	r.post(asks+"/nope/grant", object{}).problem(404, "not-found")
	require.Equal(t, "no money", r.get(asks+"/two").want(http.StatusOK).at("answer"))
	r.get(asks+"/nope").problem(404, "not-found")
	require.Len(t, r.get("/api/v1/quota-requests?project=shop&status=withdrawn").items(), 1)
	require.Empty(t, r.get("/api/v1/quota-requests?project=firm").items())
}

// What was used and what it costs, by project, as JSON and as CSV: the sums are those that can be counted by hand.
func TestUsageAndCost(t *testing.T) {
	t.Parallel()
	prices := filepath.Join(t.TempDir(), "prices.yml")
	require.NoError(t, os.WriteFile(prices, []byte("currency: EUR\nclasses: {cpu: 3600, memory: 0.5}\ndrivers:\n  other: {classes: {cpu: 1}}\n"), 0o600))
	r := start(t, 2, func(c *config.Config, _ *daemon.Options) { c.Prices = prices })
	r.call(http.MethodPut, "/api/v1/projects/firm", object{"quota": object{}}).want(http.StatusOK)
	r.call(http.MethodPut, "/api/v1/projects/shop", object{"quota": object{}, "parent": "firm"}).want(http.StatusOK)
	for _, project := range []string{"shop", "default"} {
		body := vm("a-" + project)
		body["project"] = project
		r.launch(body)
	}
	require.InDelta(t, 0, r.get("/api/v1/project-usage?from=2001-01-01T00:00:00Z&to=2001-01-02T00:00:00Z").want(http.StatusOK).at("total"), 0)

	to := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	span := "&to=" + to + "&from=" + time.Now().Add(30*time.Minute).UTC().Format(time.RFC3339)
	all := r.get("/api/v1/project-usage?" + span[1:]).want(http.StatusOK)
	require.Equal(t, "EUR", all.at("currency"))
	require.Len(t, all.at("projects"), 2)
	one := r.get("/api/v1/project-usage?project=shop" + span).want(http.StatusOK)
	require.Len(t, one.at("projects"), 1)
	require.Equal(t, "firm", one.at("projects").([]any)[0].(object)["parent"])
	require.Equal(t, one.at("items"), r.get("/api/v1/project-usage?project=firm"+span).at("items"), "what lies in it is among it")
	from, err := time.Parse(time.RFC3339, one.at("from").(string))
	require.NoError(t, err)
	until, err := time.Parse(time.RFC3339, one.at("to").(string))
	require.NoError(t, err)
	seconds := int64(until.Sub(from) / time.Second)
	for _, i := range one.at("items").([]any) {
		i := i.(object)
		if i["class"] == "cpu" { // a core for that long, at one a second
			require.Equal(t, fmt.Sprint(seconds*1000), i["held"])
			require.InDelta(t, seconds*1_000_000, i["cost"], 0)
		}
		if i["class"] == "memory" {
			want, _ := new(big.Rat).Mul(big.NewRat(seconds, 3600), big.NewRat(500_000, 1)).Float64()
			require.InDelta(t, want, i["cost"], 1)
		}
	}
	require.Contains(t, one.at("unpriced"), "storage.standard")

	file := r.get("/api/v1/project-usage.csv?project=shop" + span).want(http.StatusOK)
	require.Contains(t, file.header.Get("Content-Type"), "text/csv")
	rows, err := csv.NewReader(strings.NewReader(string(file.body))).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 1+len(one.at("items").([]any)))
	require.Equal(t, "project", rows[0][2])

	r.get("/api/v1/project-usage?project=nope").problem(404, "not-found")
	r.get("/api/v1/project-usage?from=2020-01-02T00:00:00Z&to=2020-01-01T00:00:00Z").problem(422, "invalid-value")
	require.Empty(t, start(t, 1).get("/api/v1/project-usage").want(http.StatusOK).at("currency"))
}

// A project may cost so much an hour, with all that lies in it: what would cost more is refused with the limit, what is used and what was asked
// for; a request raises it. The prices are the ledger's: a daemon that is started without them has them still, and with others those.
func TestCostLimits(t *testing.T) {
	t.Parallel()
	prices := filepath.Join(t.TempDir(), "prices.yml")
	write := func(text string) { require.NoError(t, os.WriteFile(prices, []byte(text), 0o600)) }
	write("currency: EUR\nclasses: {cpu: 0.5}\nflavors: {tiny: 0.2}\n")
	data := t.TempDir()
	with := func(file string) func(*config.Config, *daemon.Options) {
		return func(c *config.Config, _ *daemon.Options) { c.Data, c.Prices = data, file }
	}
	r := start(t, 2, with(prices))
	r.call(http.MethodPut, "/api/v1/projects/firm", object{"quota": object{"cost": 1_500_000}}).want(http.StatusOK)
	r.call(http.MethodPut, "/api/v1/projects/shop", object{"quota": object{"cost": 1_000_000}, "parent": "firm", "per_user": object{"cost": 700_000}}).want(http.StatusOK)
	body := func(name, project string) object {
		b := vm(name)
		b["project"] = project
		return b
	}
	r.launch(body("a", "shop"))
	r.launch(body("b", "firm"))
	line := r.get("/api/v1/projects/firm").want(http.StatusOK).at("quota").([]any)[0].(object)
	require.Equal(t, object{"class": "cost", "limited": true, "limit": 1_500_000.0, "used": 1_000_000.0, "free": 500_000.0}, line)
	big := body("c", "shop")
	big["spec"].(object)["resources"] = object{"cpu": 2000, "memory": 1 << 30}
	p := r.post("/api/v1/instances", big).problem(403, "over-quota")
	require.Equal(t, object{"class": "cost", "limited": true, "limit": 1_000_000.0, "used": 500_000.0, "free": 500_000.0, "asked": 1_000_000.0}, p["quota"].([]any)[0])
	require.Contains(t, p["detail"], "cost: 1.00 an hour asked, 0.50 an hour free of 1.00 an hour")
	explained := r.post("/api/v1/explain", big).want(http.StatusOK)
	require.Equal(t, false, explained.at("fits"))
	require.Equal(t, "cost", explained.at("quota").([]any)[0].(object)["class"])

	asks := "/api/v1/projects/shop/quota-requests"
	r.post(asks, object{"id": "more", "quota": object{"cost": 1_200_000}, "reason": "the sale"}).want(http.StatusCreated)
	r.post(asks+"/more/grant", object{}).want(http.StatusOK)
	require.InDelta(t, 1_200_000, r.get("/api/v1/projects/shop").at("quota").([]any)[0].(object)["limit"], 0)
	r.stop()

	used := func() float64 {
		return r.get("/api/v1/projects/firm").want(http.StatusOK).at("quota").([]any)[0].(object)["used"].(float64)
	}
	r = start(t, 2, with(""))
	require.InDelta(t, 1_000_000, used(), 0)
	require.Equal(t, "EUR", r.get("/api/v1/project-usage").want(http.StatusOK).at("currency"))
	r.stop()
	write("currency: EUR\nclasses: {cpu: 0.25}\n")
	r = start(t, 2, with(prices))
	require.InDelta(t, 500_000, used(), 0)
	r.stop()
	r = start(t, 2, with(prices))
	require.InDelta(t, 500_000, used(), 0)
	set := 0
	for _, e := range r.get("/api/v1/audit?limit=500&kind=prices.set").want(http.StatusOK).items() {
		if e["kind"] == "prices.set" {
			set++
		}
	}
	require.Equal(t, 2, set, "the same prices are not set again")
}

// Prices that cannot be meant are refused at the start.
func TestPricesThatAreWrong(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"currency: EUR\nclasses: {cpu: -1}":        "zero or more",
		"currency: EUR\nclasses: {cpu: 0.0000001}": "six decimals",
		"currency: EUR\nclasses: {cpu: 1e300}":     "six decimals",
		"currency: EUR\nclasses: {cpu: cheap}":     "cheap",
		"currency: EUR\nclass: {cpu: 1}":           "class",
		"currency: EUR\nclasses: {'a b': 1}":       "classes",
		"classes: {cpu: 1}":                        "currency",
		"":                                         "currency",
	} {
		c := config.Default()
		c.Simulate, c.Data = 1, t.TempDir()
		c.Prices = filepath.Join(c.Data, "prices.yml")
		require.NoError(t, os.WriteFile(c.Prices, []byte(text), 0o600))
		_, err := daemon.Open(t.Context(), c, daemon.Options{})
		require.ErrorContains(t, err, "prices: ", text)
		require.ErrorContains(t, err, want, text)
	}
}
