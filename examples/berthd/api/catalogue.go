package api

import (
	"context"
	"iter"
	"net/http"
	"slices"
	"strings"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
)

// Named names a thing in a path.
type Named struct {
	Name string `path:"name" maxLength:"63" doc:"Its name"`
}

func (n Named) named() string { return n.Name }

// ImageBody is an image without its name.
type ImageBody struct {
	OS      string            `json:"os,omitempty" maxLength:"255" doc:"For people" example:"Debian 12"`
	User    string            `json:"user" minLength:"1" maxLength:"32" doc:"Default login of the image" example:"debian"`
	MinDisk int64             `json:"min_disk,omitempty" minimum:"0" doc:"Smallest root disk in bytes"`
	Sources map[string]string `json:"sources,omitempty" doc:"Where each driver finds it, by the driver's name, in the form that the driver documents"`
}

// Image is what instances boot.
type Image struct {
	Name string `json:"name" example:"debian-12"`
	ImageBody
	Usable bool `json:"usable" doc:"Whether a driver of this daemon has a source"`
}

// FlavorBody is a flavor without its name.
type FlavorBody struct {
	Resources Amounts `json:"resources" doc:"Amounts per class; bytes of one kind of storage become the root disk"`
}

// Flavor is a named size.
type Flavor struct {
	Name string `json:"name" example:"small"`
	FlavorBody
}

// list returns a page of what records yields, by key.
func list[R, T any](ctx context.Context, a *api, p *Paging, on auth.Resource, lies lie[R], records func(*pool.State) iter.Seq[R], key func(R) string, convert func(R) T) (*pageOutput[T], error) {
	var rev pool.Revision
	var found []R
	err := a.visible(ctx, on, func(st *pool.State, shows func(string, string) bool) {
		rev = st.Head()
		for r := range records(st) {
			if shows(lies(st, r)) {
				found = append(found, r)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(x, y R) int { return strings.Compare(key(x), key(y)) })
	out, err := paginate(*p, requestOf(ctx).URL, rev, found, key, convert)
	return out, problemOf(err)
}

// missing is the problem of a thing that the path names and that does not exist.
func missing(what, name string) error {
	return problem.From(&pool.Error{Op: "get " + what, Kind: pool.ErrNotFound, Field: what, Value: name})
}

type imageOutput struct{ Body Image }
type flavorOutput struct{ Body Flavor }

func (a *api) image(i *pool.Image) Image {
	out := Image{Name: i.Name, ImageBody: ImageBody{OS: i.OS, User: i.User, MinDisk: i.MinDisk, Sources: i.Sources}}
	for d := range i.Sources {
		if _, ok := a.c.Drivers[d]; ok {
			out.Usable = true
		}
	}
	return out
}

func flavor(f *pool.Flavor) Flavor {
	return Flavor{Name: f.Name, FlavorBody: FlavorBody{Resources: amounts(f.Resources)}}
}

func (a *api) registerCatalogue() {
	a.registerImages()
	a.registerFlavors()
}

func (a *api) registerImages() {
	register(a, shows(auth.Images), nowhere, describe("list-images", http.MethodGet, "/images", "Images", "List images", "The catalogue by name. An image without a source for a driver cannot be used there."),
		func(ctx context.Context, in *Paging) (*pageOutput[Image], error) {
			return list(ctx, a, in, auth.Images, inNone, (*pool.State).Images, func(i *pool.Image) string { return i.Name }, a.image)
		})
	get := func(name string) (*imageOutput, error) {
		i := view(a.c.Manager, func(st *pool.State) *pool.Image {
			i, _ := st.Image(name)
			return i
		})
		if i == nil {
			return nil, missing("image", name)
		}
		return &imageOutput{a.image(i)}, nil
	}
	register(a, reads(auth.Images), nowhere, describe("get-image", http.MethodGet, "/images/{name}", "Images", "Get an image", "One image.", 404),
		func(_ context.Context, in *Named) (*imageOutput, error) { return get(in.Name) })
	register(a, may(auth.Images, auth.Update), nowhere, withExample(describe("put-image", http.MethodPut, "/images/{name}", "Images", "Add or replace an image",
		"Instances keep what they were launched with."), ImageBody{OS: "Debian 12", User: "debian", MinDisk: 2 * pool.GiB, Sources: map[string]string{"sim": "debian-12.qcow2"}}),
		func(ctx context.Context, in *struct {
			Named
			Body ImageBody
		}) (*imageOutput, error) {
			i := pool.Image{Name: in.Name, OS: in.Body.OS, User: in.Body.User, MinDisk: in.Body.MinDisk, Sources: in.Body.Sources}
			if err := a.as(ctx).PutImage(ctx, i); err != nil {
				return nil, problem.From(err)
			}
			return get(in.Name)
		})
	register(a, may(auth.Images, auth.Delete), nowhere, describe("remove-image", http.MethodDelete, "/images/{name}", "Images", "Remove an image", "Instances keep what they were launched with.", 404),
		func(ctx context.Context, in *Named) (*struct{}, error) {
			return nil, problemOf(a.as(ctx).RemoveImage(ctx, in.Name))
		})
}

func (a *api) registerFlavors() {
	register(a, shows(auth.Flavors), nowhere, describe("list-flavors", http.MethodGet, "/flavors", "Flavors", "List flavors", "Named sizes by name."),
		func(ctx context.Context, in *Paging) (*pageOutput[Flavor], error) {
			return list(ctx, a, in, auth.Flavors, inNone, (*pool.State).Flavors, func(f *pool.Flavor) string { return f.Name }, flavor)
		})
	get := func(name string) (*flavorOutput, error) {
		f := view(a.c.Manager, func(st *pool.State) *pool.Flavor {
			f, _ := st.Flavor(name)
			return f
		})
		if f == nil {
			return nil, missing("flavor", name)
		}
		return &flavorOutput{flavor(f)}, nil
	}
	register(a, reads(auth.Flavors), nowhere, describe("get-flavor", http.MethodGet, "/flavors/{name}", "Flavors", "Get a flavor", "One named size.", 404),
		func(_ context.Context, in *Named) (*flavorOutput, error) { return get(in.Name) })
	register(a, may(auth.Flavors, auth.Update), nowhere, withExample(describe("put-flavor", http.MethodPut, "/flavors/{name}", "Flavors", "Add or replace a flavor",
		"Instances keep the sizes that they were launched with."), FlavorBody{Resources: Amounts{"cpu": 2000, "memory": 4 * pool.GiB, "storage.ssd": 40 * pool.GiB}}),
		func(ctx context.Context, in *struct {
			Named
			Body FlavorBody
		}) (*flavorOutput, error) {
			if err := a.as(ctx).PutFlavor(ctx, pool.Flavor{Name: in.Name, Resources: in.Body.Resources.resources()}); err != nil {
				return nil, problem.From(err)
			}
			return get(in.Name)
		})
	register(a, may(auth.Flavors, auth.Delete), nowhere, describe("remove-flavor", http.MethodDelete, "/flavors/{name}", "Flavors", "Remove a flavor", "Instances keep the sizes that they were launched with.", 404),
		func(ctx context.Context, in *Named) (*struct{}, error) {
			return nil, problemOf(a.as(ctx).RemoveFlavor(ctx, in.Name))
		})
}
