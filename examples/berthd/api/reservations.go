package api

import (
	"context"
	"iter"
	"net/http"
	"slices"
	"time"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
)

// ReservationPath names a reservation in a path.
type ReservationPath struct {
	ID string `path:"id" maxLength:"63" doc:"Id of the reservation" example:"i0f8k2m4q6s8v0x2z4b6d8g0j"`
}

func (p ReservationPath) id() pool.InstanceID { return pool.InstanceID(p.ID) }

// ReserveBody asks for a reservation.
type ReserveBody struct {
	Instance *LaunchBody  `json:"instance,omitempty" doc:"The launch whose place is held; this or a cluster"`
	Cluster  *ClusterBody `json:"cluster,omitempty" doc:"The cluster whose members' places are held"`
	For      int64        `json:"for_seconds,omitempty" minimum:"1" maximum:"31622400" doc:"How long it is held; absent: as the daemon is configured"`
}

// place is where what is reserved is to lie. Both at once is refused later, and lies nowhere until then.
func (b *ReserveBody) place() place {
	switch {
	case b.Instance != nil && b.Cluster == nil:
		return inProject(b.Instance.Project)
	case b.Cluster != nil && b.Instance == nil:
		return inProject(b.Cluster.Project)
	}
	return place{}
}

func (b *ReserveBody) reserve(token string) berthage.Reserve {
	r := berthage.Reserve{For: time.Duration(b.For) * time.Second}
	if b.Instance != nil {
		l := b.Instance.launch(token)
		r.Launch = &l
	}
	if b.Cluster != nil {
		c := b.Cluster.create(token)
		r.Cluster = &c
	}
	return r
}

// Reservation is what is held, or what has become of it.
type Reservation struct {
	ID        string     `json:"id" doc:"That of its first instance" example:"i0f8k2m4q6s8v0x2z4b6d8g0j"`
	Status    string     `json:"status" enum:"held,committed,expired,released"`
	Project   string     `json:"project,omitempty" example:"default"`
	Name      string     `json:"name,omitempty" doc:"Of the instance or cluster" example:"web-1"`
	Cluster   string     `json:"cluster,omitempty" doc:"That it is to become, or has become: project/name" example:"default/web"`
	Until     *time.Time `json:"until,omitempty" doc:"While it is held: when it ends by itself"`
	Instances []Instance `json:"instances" nullable:"false" doc:"As they are, by number"`
}

func reservation(r berthage.Reservation) Reservation {
	out := Reservation{ID: string(r.ID), Status: r.Status, Project: r.Project, Name: r.Name, Cluster: string(r.Cluster), Instances: []Instance{}}
	if !r.Until.IsZero() {
		out.Until = &r.Until
	}
	for n := range r.Instances {
		out.Instances = append(out.Instances, instance(&r.Instances[n]))
	}
	return out
}

type reservationOutput struct{ Body Reservation }

type reservationCreated struct {
	Location string `header:"Location" doc:"Path of the reservation"`
	Body     Reservation
}

func reservationOf(r berthage.Reservation, err error) (*reservationOutput, error) {
	if err != nil {
		return nil, problem.From(err)
	}
	return &reservationOutput{reservation(r)}, nil
}

func (a *api) registerReservations() {
	register(a, shows(auth.Reservations), nowhere, describe("list-reservations", http.MethodGet, "/reservations", "Reservations", "List reservations",
		"Those that are held, the first to expire first. What they hold is taken: of the hosts, of the pool and of their projects' quotas.", 422),
		func(ctx context.Context, in *Paging) (*pageOutput[Reservation], error) {
			all := slices.Values(a.c.Manager.Reservations())
			return list(ctx, a, in, auth.Reservations, func(st *pool.State, r berthage.Reservation) (string, string) { return a.instancePlace(st, r.ID) }, func(*pool.State) iter.Seq[berthage.Reservation] { return all },
				func(r berthage.Reservation) string {
					return r.Until.UTC().Format("2006-01-02T15:04:05.000000000Z") + "/" + string(r.ID)
				}, reservation)
		})
	register(a, reads(auth.Reservations), ofInstance, describe("get-reservation", http.MethodGet, "/reservations/{id}", "Reservations", "Get a reservation",
		"A reservation, or what has become of it: one that has ended shows its status and little else.", 404),
		func(_ context.Context, in *ReservationPath) (*reservationOutput, error) {
			return reservationOf(a.c.Manager.Reservation(in.id()))
		})
	op := describe("reserve", http.MethodPost, "/reservations", "Reservations", "Reserve",
		"Decides where an instance or all members of a cluster go, as a launch does, and holds the places without building anything, until they are committed or released, or the time is up. "+
			"A refusal is that of the launch.", 403, 409, 410)
	op.DefaultStatus = http.StatusCreated
	example := launchExample()
	register(a, may(auth.Reservations, auth.Create), func(_ *api, in *struct {
		Key  string `header:"Idempotency-Key" maxLength:"128" doc:"The same key with the same body gives the same reservation, however often it is sent"`
		Body ReserveBody
	}) place {
		return in.Body.place()
	}, withExample(op, ReserveBody{Instance: &example, For: 600}), func(ctx context.Context, in *struct {
		Key  string `header:"Idempotency-Key" maxLength:"128" doc:"The same key with the same body gives the same reservation, however often it is sent"`
		Body ReserveBody
	}) (*reservationCreated, error) {
		r, err := a.as(ctx).Reserve(ctx, in.Body.reserve(tokenOf(ctx, in.Key)))
		if err != nil {
			return nil, problem.OfBody(err)
		}
		return &reservationCreated{Location: prefix + "/reservations/" + string(r.ID), Body: reservation(r)}, nil
	})
	op = describe("commit-reservation", http.MethodPost, "/reservations/{id}/commit", "Reservations", "Commit a reservation",
		"Has what is reserved built where it is held; follow its instances, or its cluster. Only what is held on a host that has been lost since needs another place, and may be refused for want of one (409). "+
			"The same again does nothing; one that has expired or was released is gone (410).", 404, 409, 410)
	op.DefaultStatus = http.StatusAccepted
	register(a, may(auth.Reservations, auth.Update), ofInstance, op, func(ctx context.Context, in *ReservationPath) (*reservationOutput, error) {
		return reservationOf(a.as(ctx).Commit(ctx, in.id()))
	})
	register(a, may(auth.Reservations, auth.Delete), ofInstance, describe("release-reservation", http.MethodDelete, "/reservations/{id}", "Reservations", "Release a reservation",
		"Gives the places back. One that has ended so or has expired is left as it is; one that was committed is not touched (409).", 404, 409),
		func(ctx context.Context, in *ReservationPath) (*reservationOutput, error) {
			return reservationOf(a.as(ctx).Release(ctx, in.id()))
		})
}

func (b *ClusterBody) create(token string) berthage.CreateCluster {
	return berthage.CreateCluster{
		Token: token, Project: b.Project, Name: b.Name, Spec: b.Spec.spec(), Size: b.Size, BestEffort: b.BestEffort, Stagger: b.Stagger, Wait: b.Wait,
		Spare: b.Spare, Domain: b.Domain,
	}
}
