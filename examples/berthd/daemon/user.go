package daemon

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/berthage/berthage/examples/berthd/config"
)

const userUsage = `berthd user sees to people of the daemon that runs on a data directory, for whoever can read its token.

  berthd user add NAME [--role ROLE [--project NAME]]  add somebody, and print their first password
  berthd user password NAME                            give somebody a new password, and print it
  berthd user second-factor NAME                       remove the second factor of somebody who has lost it
  berthd user list                                     print who there is and what they may do

  --role            viewer, user, operator or admin
  --project         where the role holds: this project and those below it; without it, everywhere
  --password-stdin  for add and password: take the password from the first line of standard input, and print none
  --data            the daemon's data directory
`

// person is what the API says of somebody.
type person struct {
	ID       string `json:"id"`
	Kind     string `json:"kind"`
	Name     string `json:"name"`
	Disabled bool   `json:"disabled"`
}

// bound is what it says of a role.
type bound struct {
	Principal  string `json:"principal"`
	Role       string `json:"role"`
	Project    string `json:"project,omitempty"`
	Everything bool   `json:"everything,omitempty"`
	Own        bool   `json:"own,omitempty"`
}

func (b bound) String() string {
	at := " of everything"
	if b.Project != "" {
		at = " of " + b.Project
	}
	if b.Own {
		at += ", own things"
	}
	return b.Role + at
}

// User carries out berthd user. Passwords are made, and printed to out only, or read from in. The error is flag.ErrHelp where it has printed how.
func User(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	command, name := "help", ""
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	set := flag.NewFlagSet("berthd user", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	given := set.Bool("password-stdin", false, "")
	role, project, data := set.String("role", "", ""), set.String("project", "", ""), set.String("data", "", "")
	err := set.Parse(args)
	if errors.Is(err, flag.ErrHelp) || command == "help" || strings.HasPrefix(command, "-") {
		fmt.Fprint(out, userUsage)
		return flag.ErrHelp
	}
	switch {
	case err != nil:
		return fmt.Errorf("user %s: %w", command, err)
	case !slices.Contains([]string{"add", "password", "second-factor", "list"}, command):
		return fmt.Errorf("%q is not a command of berthd user; berthd user help tells them", command)
	case set.NArg() > 0, (name == "") != (command == "list"):
		return fmt.Errorf("user %s: one name is wanted, and options after it; berthd user help", command)
	case *given && command != "add" && command != "password":
		return fmt.Errorf("user %s: --password-stdin belongs to add and password", command)
	case command != "add" && *role+*project != "", *project != "" && *role == "":
		return fmt.Errorf("user %s: --role, and --project with it, belong to add", command)
	}
	var where []string
	if *data != "" {
		where = []string{"--data", *data}
	}
	dir, err := config.LoadData(config.Sources{Args: where})
	if err != nil {
		return err
	}
	l, err := reachLocal(dir)
	if err != nil {
		return err
	}
	password, print := rand.Text(), out
	if *given {
		if password, err = firstLine(in); err != nil {
			return err
		}
		print = io.Discard
	}
	switch command {
	case "add":
		return l.add(ctx, name, password, bound{Role: *role, Project: *project, Everything: *project == ""}, print)
	case "list":
		return l.list(ctx, out)
	}
	p, err := l.find(ctx, name)
	if err != nil {
		return err
	}
	if command == "second-factor" {
		return l.call(ctx, http.MethodPost, "/users/"+url.PathEscape(p.ID)+"/second-factor/remove", struct{}{}, nil)
	}
	if err := l.call(ctx, http.MethodPut, "/users/"+url.PathEscape(p.ID)+"/password", map[string]string{"password": password}, nil); err != nil {
		return err
	}
	return tell(print, name, password)
}

// mostPassword is what of the input is read, in bytes.
const mostPassword = 4096

// firstLine returns a password from the first line of what somebody types or pipes in.
func firstLine(in io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(in, mostPassword)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the password: %w", err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", errors.New("no password on the first line of standard input")
	}
	return line, nil
}

func tell(out io.Writer, name, password string) error {
	_, err := fmt.Fprintf(out, "%s signs in with the password\n\n  %s\n\nand should change it, on the page My account.\n", name, password)
	return err
}

func (l *local) add(ctx context.Context, name, password string, b bound, out io.Writer) error {
	var p person
	if err := l.call(ctx, http.MethodPost, "/users", map[string]string{"name": name, "password": password}, &p); err != nil {
		return err
	}
	if b.Role != "" {
		b.Principal = p.ID
		if err := l.call(ctx, http.MethodPost, "/bindings", b, nil); err != nil {
			return errors.Join(tell(out, name, password), fmt.Errorf("%s is there and may nothing: %w", name, err))
		}
	}
	return tell(out, name, password)
}

// every returns all items of a list.
func every[T any](ctx context.Context, l *local, path string) ([]T, error) {
	var all []T
	for cursor := ""; ; {
		var page struct {
			Items []T
			Next  string
		}
		if err := l.call(ctx, http.MethodGet, path+"?limit=1000&cursor="+url.QueryEscape(cursor), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if cursor = page.Next; cursor == "" {
			return all, nil
		}
	}
}

func (l *local) find(ctx context.Context, name string) (person, error) {
	all, err := every[person](ctx, l, "/users")
	if err != nil {
		return person{}, err
	}
	if i := slices.IndexFunc(all, func(p person) bool { return p.Name == name || p.Name == "" && p.ID == name }); i >= 0 {
		return all[i], nil
	}
	return person{}, fmt.Errorf("nobody has the name %q", name)
}

func (l *local) list(ctx context.Context, out io.Writer) error {
	people, err := every[person](ctx, l, "/users")
	if err != nil {
		return err
	}
	roles, err := every[bound](ctx, l, "/bindings")
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tID\tKIND\tROLES")
	for _, p := range people {
		var may []string
		for _, b := range roles {
			if b.Principal == p.ID {
				may = append(may, b.String())
			}
		}
		kind := p.Kind
		if p.Disabled {
			kind += " (disabled)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", p.Name, p.ID, kind, strings.Join(may, "; "))
	}
	return w.Flush()
}
