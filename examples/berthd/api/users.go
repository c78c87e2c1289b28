package api

import (
	"context"
	"iter"
	"net/http"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
)

// UserBody is what of a person or service account can be changed.
type UserBody struct {
	Name  string `json:"name,omitempty" maxLength:"128" doc:"To sign in with, of a person: unique, without spaces" example:"ada"`
	Email string `json:"email,omitempty" maxLength:"254" doc:"For people to read"`
	Login string `json:"login,omitempty" maxLength:"32" doc:"Of the user that is made for them on machines; absent: the daemon's default"`
}

// NewUserBody is a person or service account that is to be.
type NewUserBody struct {
	UserBody
	Kind     string `json:"kind,omitempty" enum:"person,service" default:"person" doc:"A service account is for programs: it has tokens and no password"`
	Project  string `json:"project,omitempty" maxLength:"63" doc:"Of a service account that lies in a project: the project's admins see to it, and it may nothing outside of it"`
	Password string `json:"password,omitempty" writeOnly:"true" maxLength:"1024" doc:"Of a person, 12 characters or more; without one they cannot sign in yet"`
}

// User is a person or service account.
type User struct {
	ID      string `json:"id" example:"root"`
	Kind    string `json:"kind" enum:"person,service"`
	Project string `json:"project,omitempty"`
	UserBody
	Disabled     bool `json:"disabled" doc:"Nothing that they hold is good"`
	Password     bool `json:"password" doc:"They have one"`
	SecondFactor bool `json:"second_factor" doc:"They have one"`
	Tokens       int  `json:"tokens" doc:"API tokens, those that have expired included"`
	Keys         int  `json:"keys" doc:"SSH keys"`
}

func user(s *auth.State, p auth.Principal) User {
	_, password := s.Password(p.ID)
	_, second := s.Second(p.ID)
	return User{
		ID: p.ID, Kind: string(p.Kind), Project: p.Project, UserBody: UserBody{p.Name, p.Email, p.Login}, Disabled: p.Disabled,
		Password: password, SecondFactor: second, Tokens: len(s.Tokens(p.ID)), Keys: len(s.Keys(p.ID)),
	}
}

type userOutput struct{ Body User }

func (a *api) user(ctx context.Context, id string) (*userOutput, error) {
	known, p, err := a.of(ctx, auth.Users, id)
	if err != nil {
		return nil, err
	}
	return &userOutput{user(known, p)}, nil
}

func (a *api) registerUsers() {
	register(a, shows(auth.Users), nowhere, describe("list-users", http.MethodGet, "/users", "Users", "List users", "People and service accounts by id: those that one may see, oneself always.", 422),
		func(ctx context.Context, in *Paging) (*pageOutput[User], error) {
			var known *auth.State
			return list(ctx, a, in, auth.Users, func(_ *pool.State, p auth.Principal) (project, owner string) { return belongs(p) },
				func(st *pool.State) iter.Seq[auth.Principal] {
					known = auth.Of(st)
					return known.Principals()
				}, func(p auth.Principal) string { return p.ID }, func(p auth.Principal) User { return user(known, p) })
		})
	register(a, reads(auth.Users), ofUser, describe("get-user", http.MethodGet, "/users/{id}", "Users", "Get a user", "One person or service account.", 404),
		func(ctx context.Context, in *PrincipalPath) (*userOutput, error) { return a.user(ctx, in.ID) })
	op := withExample(describe("add-user", http.MethodPost, "/users", "Users", "Add a user",
		"A person, who signs in by name and password, or a service account. Its id is random and stays. It may nothing until a role is bound to it.", 404, 409),
		NewUserBody{UserBody: UserBody{Name: "ada", Email: "ada@people.example"}, Password: "correct horse battery staple"})
	op.DefaultStatus = http.StatusCreated
	register(a, may(auth.Users, auth.Create), func(_ *api, in *struct{ Body NewUserBody }) place {
		return place{project: in.Body.Project, field: "project", value: in.Body.Project}
	}, op, a.addUser)
	register(a, may(auth.Users, auth.Update), ofUser, withExample(describe("put-user", http.MethodPut, "/users/{id}", "Users", "Change a user",
		"Its name, which only who may disable users changes, its mail address and its login on machines; what is not said is taken away.", 404, 409), UserBody{Name: "grace", Login: "ops"}),
		func(ctx context.Context, in *struct {
			PrincipalPath
			Body UserBody
		}) (*userOutput, error) {
			_, p, err := a.of(ctx, auth.Users, in.ID)
			if err != nil {
				return nil, err
			}
			p.Name, p.Email, p.Login = in.Body.Name, in.Body.Email, in.Body.Login
			p.Generation = 0 // as it is
			if err := a.decide(ctx, auth.Command{Put: &p}); err != nil {
				return nil, refused(in.ID, err)
			}
			return a.user(ctx, in.ID)
		})
	register(a, may(auth.Users, auth.Delete), ofUser, describe("remove-user", http.MethodDelete, "/users/{id}", "Users", "Remove a user",
		"With its bindings, tokens and keys. Its name and all that is personal leave the history, too; its id stays there.", 404),
		func(ctx context.Context, in *PrincipalPath) (*struct{}, error) {
			if err := a.decide(ctx, auth.Command{Remove: in.ID}); err != nil {
				return nil, refused(in.ID, err)
			}
			if _, err := a.as(ctx).Forget(ctx, auth.Subject(in.ID)); err != nil { // it is removed all the same
				a.c.Logger.Warn("what is personal to a user who was removed is still in the history", "user", in.ID, "error", err)
			}
			a.clear(ctx, in.ID)
			return nil, nil
		})
	for _, c := range []struct {
		verb, summary, description string
		command                    func(id string) auth.Command
		void                       bool
		need                       need
	}{
		{"disable", "Disable a user", "Nothing that they hold is good any more: sessions, tokens, password.", func(id string) auth.Command { return auth.Command{Disable: id} }, true, may(auth.Users, auth.Operate)},
		{"enable", "Enable a user", "Their password and tokens are good again; sessions are not.", func(id string) auth.Command { return auth.Command{Enable: id} }, false, may(auth.Users, auth.Operate)},
		{"sign-out", "Sign a user out everywhere", "All of their sessions end. API tokens stay good.", func(id string) auth.Command { return auth.Command{Reset: id} }, true, may(auth.Sessions, auth.Delete)},
	} {
		register(a, c.need, ofUser, describe(c.verb+"-user", http.MethodPost, "/users/{id}/"+c.verb, "Users", c.summary, c.description, 404),
			func(ctx context.Context, in *PrincipalPath) (*struct{}, error) {
				if err := a.decide(ctx, c.command(in.ID)); err != nil {
					return nil, refused(in.ID, err)
				}
				if c.void {
					a.clear(ctx, in.ID)
				}
				return nil, nil
			})
	}
}

// clear empties the list of somebody's sessions, which are void already.
func (a *api) clear(ctx context.Context, id string) {
	if err := a.c.Desk.Clear(ctx, id); err != nil {
		a.c.Logger.Warn("sessions that have ended are still listed", "user", id, "error", err)
	}
}

func (a *api) addUser(ctx context.Context, in *struct{ Body NewUserBody }) (*userOutput, error) {
	b := in.Body
	p := auth.Principal{ID: newID("u"), Kind: auth.Kind(b.Kind), Project: b.Project, Name: b.Name, Email: b.Email, Login: b.Login}
	c := auth.Command{Put: &p}
	if b.Password != "" { // what is wrong with it is said before anything is done
		if p.Kind != auth.Person {
			return nil, problem.From(&pool.Error{Kind: pool.ErrInvalid, Field: "password", Want: "none: service accounts have tokens"})
		}
		hash, err := a.c.Desk.Hash(ctx, b.Password)
		if err != nil {
			return nil, problem.From(err)
		}
		c.Set = &auth.SetPassword{Principal: p.ID, Hash: hash}
	}
	if err := a.decide(ctx, c); err != nil {
		return nil, problem.From(err)
	}
	return a.user(ctx, p.ID)
}
