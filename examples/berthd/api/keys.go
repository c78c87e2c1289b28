package api

import (
	"context"
	"iter"
	"net/http"
	"slices"
	"time"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/auth/sshkey"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
)

// KeyTimes say when an SSH key is good for machines that are made.
type KeyTimes struct {
	NotBefore time.Time `json:"not_before,omitempty" doc:"Absent: from now on"`
	Expires   time.Time `json:"expires,omitempty" doc:"Absent: never"`
}

// NewSSHKeyBody is a public SSH key of somebody.
type NewSSHKeyBody struct {
	Key string `json:"key" minLength:"1" maxLength:"4096" doc:"One line of authorized_keys, without options" example:"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ada"`
	KeyTimes
}

// SSHKey is an SSH key as it stands.
type SSHKey struct {
	ID          string     `json:"id"`
	Type        string     `json:"type,omitempty" example:"ssh-ed25519"`
	Fingerprint string     `json:"fingerprint,omitempty" doc:"As OpenSSH prints it"`
	Comment     string     `json:"comment,omitempty"`
	NotBefore   *time.Time `json:"not_before,omitempty"`
	Expires     *time.Time `json:"expires,omitempty"`
	Good        bool       `json:"good" doc:"It is put on machines that are made now"`
}

// SSHKeyPath names a principal's SSH key in a path.
type SSHKeyPath struct {
	PrincipalPath
	Key string `path:"key" minLength:"1" maxLength:"63" doc:"Id of the key" example:"k2k4m6q8s0v2x4z6b8d0"`
}

func sshKey(k auth.Key) SSHKey {
	out := SSHKey{ID: k.ID, NotBefore: moment(k.NotBefore), Expires: moment(k.Expires), Good: k.Line != "" && k.Good(time.Now())}
	if p, err := sshkey.Parse(k.Line); err == nil {
		out.Type, out.Fingerprint, out.Comment = p.Type, p.Fingerprint, p.Comment
	}
	return out
}

func (a *api) registerKeys() {
	// one returns a key of somebody's.
	one := func(ctx context.Context, principal, id string) (auth.Key, error) {
		known, _, err := a.of(ctx, auth.Keys, principal)
		if err != nil {
			return auth.Key{}, err
		}
		all := known.Keys(principal)
		i := slices.IndexFunc(all, func(k auth.Key) bool { return k.ID == id })
		if i < 0 {
			return auth.Key{}, missing("key", id)
		}
		return all[i], nil
	}
	put := func(ctx context.Context, k auth.Key) (*struct{ Body SSHKey }, error) {
		if err := a.decide(ctx, auth.Command{Key: &k}); err != nil {
			return nil, refused(k.Principal, err)
		}
		return &struct{ Body SSHKey }{sshKey(k)}, nil
	}
	register(a, reads(auth.Keys), ofUser, describe("list-ssh-keys", http.MethodGet, "/users/{id}/ssh-keys", "Users", "List SSH keys", "A user's public SSH keys by id.", 404, 422),
		func(ctx context.Context, in *struct {
			PrincipalPath
			Paging
		}) (*pageOutput[SSHKey], error) {
			known, p, err := a.of(ctx, auth.Keys, in.ID)
			if err != nil {
				return nil, err
			}
			all := slices.Values(known.Keys(in.ID))
			return list(ctx, a, &in.Paging, auth.Keys, func(*pool.State, auth.Key) (project, owner string) { return belongs(p) }, func(*pool.State) iter.Seq[auth.Key] { return all }, func(k auth.Key) string { return k.ID }, sshKey)
		})
	op := withExample(describe("add-ssh-key", http.MethodPost, "/users/{id}/ssh-keys", "Users", "Add an SSH key",
		"For machines that are launched with registered_keys. A key that begins when another one ends follows it.", 404, 409),
		NewSSHKeyBody{Key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ada"})
	op.DefaultStatus = http.StatusCreated
	register(a, may(auth.Keys, auth.Update), ofUser, op, func(ctx context.Context, in *struct {
		PrincipalPath
		Body NewSSHKeyBody
	}) (*struct{ Body SSHKey }, error) {
		parsed, err := sshkey.Parse(in.Body.Key)
		if err != nil {
			return nil, problem.From(err)
		}
		return put(ctx, auth.Key{ID: newID("k"), Principal: in.ID, Line: parsed.Line, NotBefore: in.Body.NotBefore, Expires: in.Body.Expires})
	})
	register(a, may(auth.Keys, auth.Update), ofUser, withExample(describe("put-ssh-key", http.MethodPut, "/users/{id}/ssh-keys/{key}", "Users", "Change when an SSH key is good",
		"What is not said is taken away. Machines that are there keep the keys that they were made with.", 404), KeyTimes{Expires: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}),
		func(ctx context.Context, in *struct {
			SSHKeyPath
			Body KeyTimes
		}) (*struct{ Body SSHKey }, error) {
			k, err := one(ctx, in.ID, in.Key)
			if err != nil {
				return nil, err
			}
			k.NotBefore, k.Expires = in.Body.NotBefore, in.Body.Expires
			return put(ctx, k)
		})
	register(a, may(auth.Keys, auth.Delete), ofUser, describe("remove-ssh-key", http.MethodDelete, "/users/{id}/ssh-keys/{key}", "Users", "Remove an SSH key", "Machines that are there keep it.", 404),
		func(ctx context.Context, in *SSHKeyPath) (*struct{}, error) {
			if _, err := one(ctx, in.ID, in.Key); err != nil {
				return nil, err
			}
			return nil, refused(in.ID, a.decide(ctx, auth.Command{Take: &auth.PrincipalsKey{Principal: in.ID, ID: in.Key}}))
		})
}
