package state

import (
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func (b *builder) job(j *batchv1.Job) *row {
	b.begin(&j.ObjectMeta, k8sJobUID, k8sJobName, k8sNamespaceName)
	b.row.owner = controller(&j.ObjectMeta)
	b.int(jobPodActive, int64(j.Status.Active))
	if c := j.Spec.Completions; c != nil { // nil: any one pod's success is enough
		b.int(jobPodDesiredSuccessful, int64(*c))
	}
	b.int(jobPodFailed, int64(j.Status.Failed))
	if p := j.Spec.Parallelism; p != nil {
		b.int(jobPodMaxParallel, int64(*p))
	}
	b.int(jobPodSuccessful, int64(j.Status.Succeeded))
	if r := j.Status.Ready; r != nil {
		b.int(jobPodReady, int64(*r))
	}
	for i := range j.Status.Conditions {
		c := &j.Status.Conditions[i]
		b.condition(jobCondition, string(c.Type), string(c.Status), c.Reason)
	}
	b.time(jobStartTime, j.Status.StartTime)
	b.time(jobCompletionTime, j.Status.CompletionTime)
	if d := j.Spec.ActiveDeadlineSeconds; d != nil {
		b.int(jobActiveDeadline, *d)
	}
	b.owners(jobOwner, j.OwnerReferences)
	return b.end()
}

func (b *builder) cronJob(c *batchv1.CronJob) *row {
	b.begin(&c.ObjectMeta, k8sCronJobUID, k8sCronJobName, k8sNamespaceName)
	b.int(cronJobJobActive, int64(len(c.Status.Active)))
	b.time(cronJobLastScheduleTime, c.Status.LastScheduleTime)
	b.time(cronJobLastSuccessfulTime, c.Status.LastSuccessfulTime)
	b.bool(cronJobSuspended, or(c.Spec.Suspend, false))
	zone := or(c.Spec.TimeZone, "")
	if b.on[cronJobInfo] {
		b.int(cronJobInfo, 1, present(kv{attrSchedule, c.Spec.Schedule}, kv{concurrencyPolicy, string(c.Spec.ConcurrencyPolicy)}, kv{attrTimezone, zone})...)
	}
	if !validSchedule(c.Spec.Schedule) || !validZone(zone) {
		b.state(cronJobScheduleInvalid)
	}
	if b.on[cronJobNextScheduleTime] {
		next := metav1.NewTime(nextSchedule(c))
		b.time(cronJobNextScheduleTime, &next)
	}
	return b.end()
}
