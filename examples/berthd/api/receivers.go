package api

import (
	"context"
	"iter"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/berthage/berthage/examples/berthd/receivers"
	"github.com/berthage/berthage/pool"
)

// ReceiverType is a kind of receiver, and what can be said of one.
type ReceiverType struct {
	Name   string          `json:"name" example:"slack"`
	About  string          `json:"about" doc:"For people"`
	Fields []ReceiverField `json:"fields" nullable:"false"`
}

// ReceiverField is one thing that can be said of a receiver.
type ReceiverField struct {
	Name     string   `json:"name" example:"channel"`
	Kind     string   `json:"kind" enum:"text,template,number,bool,list,url,duration" doc:"Of its value; a list is one of texts"`
	Required bool     `json:"required"`
	Secret   bool     `json:"secret" doc:"It stands under secrets and is never shown again; else under settings"`
	Where    bool     `json:"where" doc:"It says where messages go: who changes it gives the secrets anew"`
	Choices  []string `json:"choices,omitempty" doc:"The only values; absent: any"`
	About    string   `json:"about" doc:"For people"`
	Example  string   `json:"example,omitempty"`
}

func receiverType(t receivers.Type) ReceiverType {
	out := ReceiverType{Name: t.Name, About: t.About, Fields: []ReceiverField{}}
	for _, f := range t.Fields {
		out.Fields = append(out.Fields, ReceiverField{f.Name, string(f.Kind), f.Required, f.Secret, f.Where, f.Choices, f.About, f.Example})
	}
	return out
}

func (a *api) registerReceiverTypes() {
	huma.Register(a.huma, describe("list-receiver-types", http.MethodGet, "/receiver-types", "Messages", "List types of receivers",
		"The types by name, each with its fields, from which a form can be made.", 422),
		func(ctx context.Context, in *Paging) (*pageOutput[ReceiverType], error) {
			all := slices.Values(receivers.Types())
			return list(ctx, a, in, func(*pool.State) iter.Seq[receivers.Type] { return all }, func(t receivers.Type) string { return t.Name }, receiverType)
		})
}
