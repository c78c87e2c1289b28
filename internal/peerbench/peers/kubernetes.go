package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/scheduler"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/testing/defaults"
	"k8s.io/kubernetes/pkg/scheduler/framework"

	"github.com/berthage/berthage/internal/peerbench"
)

// kubernetes is kube-scheduler's cycle of one pod after another, without queue and binding.
type kubernetes struct {
	s    *scheduler.Scheduler
	ctx  context.Context
	stop func()
}

const profileName = "default-scheduler"

// openKubernetes makes a scheduler that scores that percentage of the nodes; 0 is its default, which depends on how
// many there are.
func openKubernetes(percentage int32) peerbench.Opener {
	return func(hosts []peerbench.Host) (peerbench.System, error) {
		if err := silence(); err != nil {
			return nil, err
		}
		ctx, cancel := context.WithCancel(context.Background())
		k := &kubernetes{ctx: ctx}
		client := fake.NewClientset()
		factory := informers.NewSharedInformerFactory(client, 0)
		k.stop = func() {
			cancel()
			factory.Shutdown()
		}
		var err error
		k.s, err = scheduler.New(ctx, client, factory, nil, func(string) events.EventRecorder { return events.NewFakeRecorder(1000) },
			scheduler.WithProfiles(profile(percentage)), scheduler.WithParallelism(2))
		if err != nil {
			k.stop()
			return nil, err
		}
		factory.Start(ctx.Done())
		factory.WaitForCacheSync(ctx.Done())
		logger := klog.FromContext(ctx)
		for i := range hosts {
			h := &hosts[i]
			k.s.Cache.AddNode(logger, kubernetesNode(h))
			if h.Taken != (peerbench.Size{}) {
				p := podOf(fmt.Sprintf("filler-%d", i), filler, h.Taken)
				p.Spec.NodeName = h.Name
				if err := k.s.Cache.AddPod(logger, p); err != nil {
					k.stop()
					return nil, err
				}
			}
		}
		return k, nil
	}
}

func silence() error {
	var flags flag.FlagSet
	klog.InitFlags(&flags)
	if err := flags.Parse([]string{"-logtostderr=false", "-alsologtostderr=false", "-stderrthreshold=FATAL"}); err != nil {
		return err
	}
	klog.SetOutput(io.Discard)
	return nil
}

// profile is the default one but for what makes it pack instead of spread.
func profile(percentage int32) config.KubeSchedulerProfile {
	plugins := defaults.ExpandedPluginsV1.DeepCopy()
	plugins.Score.Enabled = slices.DeleteFunc(plugins.Score.Enabled, func(p config.Plugin) bool {
		return p.Name == "NodeResourcesBalancedAllocation"
	})
	var args []config.PluginConfig
	for i := range defaults.PluginConfigsV1 {
		c := *defaults.PluginConfigsV1[i].DeepCopy()
		if fit, ok := c.Args.(*config.NodeResourcesFitArgs); ok {
			fit.ScoringStrategy.Type = config.MostAllocated
		}
		args = append(args, c)
	}
	p := config.KubeSchedulerProfile{SchedulerName: profileName, Plugins: plugins, PluginConfig: args}
	if percentage > 0 {
		p.PercentageOfNodesToScore = &percentage
	}
	return p
}

func kubernetesNode(h *peerbench.Host) *v1.Node {
	has := amounts(h.Total)
	has[v1.ResourcePods] = *resource.NewQuantity(1000, resource.DecimalSI)
	return &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: h.Name, UID: types.UID(h.Name), Labels: map[string]string{v1.LabelHostname: h.Name, v1.LabelTopologyZone: h.Zone}},
		Status: v1.NodeStatus{
			Capacity: has, Allocatable: maps.Clone(has), Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}},
		},
	}
}

func amounts(s peerbench.Size) v1.ResourceList {
	return v1.ResourceList{
		v1.ResourceCPU:              *resource.NewMilliQuantity(s.CPU, resource.DecimalSI),
		v1.ResourceMemory:           *resource.NewQuantity(s.Memory, resource.BinarySI),
		v1.ResourceEphemeralStorage: *resource.NewQuantity(s.Disk, resource.BinarySI),
	}
}

// requestLabel says for which request a pod is.
const requestLabel = "request"

func podOf(name, request string, s peerbench.Size) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name), Labels: map[string]string{requestLabel: request}},
		Spec: v1.PodSpec{
			SchedulerName: profileName,
			Containers:    []v1.Container{{Name: "vm", Image: "debian-12", Resources: v1.ResourceRequirements{Requests: amounts(s), Limits: amounts(s)}}},
		},
	}
}

func (k *kubernetes) Ready(reqs []peerbench.Request) (func() error, error) {
	pods := make([]*v1.Pod, len(reqs))
	for i, r := range reqs {
		if r.Count != 1 {
			return nil, fmt.Errorf("%s: pods are placed one at a time", r.Name)
		}
		pods[i] = podOf(r.Name, r.Name, r.Each)
	}
	return func() error {
		logger := klog.FromContext(k.ctx)
		for _, pod := range pods {
			result, err := k.s.SchedulePod(k.ctx, k.s.Profiles[profileName], framework.NewCycleState(), pod)
			if err != nil {
				return err
			}
			assumed := pod.DeepCopy()
			assumed.Spec.NodeName = result.SuggestedHost
			if err := k.s.Cache.AssumePod(logger, assumed); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func (k *kubernetes) Placed() ([]peerbench.Placed, error) {
	var out []peerbench.Placed
	for name, node := range k.s.Cache.Dump().Nodes {
		for _, p := range node.Pods {
			if r := p.Pod.Labels[requestLabel]; r != filler {
				out = append(out, peerbench.Placed{Request: r, Host: name, Pool: -1})
			}
		}
	}
	return out, nil
}

func (k *kubernetes) Close() { k.stop() }
