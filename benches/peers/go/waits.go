package main

import (
	"math"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// How late goroutines are woken, from outside and by timers.

// steps is how many buckets waits have for each power of two: a percentile is at most a 32nd too high.
const steps = 32

// waits is a histogram of times in nanoseconds.
type waits struct {
	buckets [(64 - 5 + 1) * steps]uint64
	count   uint64
	worst   uint64
}

func bucket(wait uint64) int {
	if wait < steps {
		return int(wait)
	}
	shift := bits.Len64(wait) - bits.Len64(steps)
	return shift*steps + int(wait>>shift)
}

// lastOf is the longest wait that a bucket counts.
func lastOf(bucket int) uint64 {
	if bucket < 2*steps {
		return uint64(bucket)
	}
	shift := bucket/steps - 1
	return uint64(bucket%steps+steps+1)<<shift - 1
}

func (w *waits) add(wait time.Duration) {
	ns := uint64(max(wait, 0))
	w.buckets[bucket(ns)]++
	w.count++
	w.worst = max(w.worst, ns)
}

func (w *waits) merge(other *waits) {
	for i, count := range other.buckets {
		w.buckets[i] += count
	}
	w.count += other.count
	w.worst = max(w.worst, other.worst)
}

func (w *waits) percentile(share float64) float64 {
	rank := max(uint64(math.Ceil(float64(w.count)*share)), 1)
	below := uint64(0)
	for bucket, count := range w.buckets {
		below += count
		if below >= rank {
			return float64(min(lastOf(bucket), w.worst))
		}
	}
	return float64(w.worst)
}

// withWaits adds what is to be known about waits.
func (r *report) withWaits(w *waits) *report {
	return r.with("p50", w.percentile(0.5)).
		with("p99", w.percentile(0.99)).
		with("p99.9", w.percentile(0.999)).
		with("worst", float64(w.worst))
}

// wake measures how long a goroutine takes to be woken by an OS thread, which is another one locked to it.
func wake(j job) *report {
	const pause = 300 * time.Microsecond
	runtime.LockOSThread()
	sent, woken := make(chan time.Time, 1), make(chan *waits)
	go func() {
		w := &waits{}
		for sent := range sent {
			w.add(time.Since(sent))
		}
		woken <- w
	}()
	for range j.size {
		sleepOutside(pause)
		sent <- time.Now()
	}
	close(sent)
	w := <-woken
	return newReport(1, w.count).withWaits(w)
}

// sleepOutside blocks the OS thread; the runtime knows nothing of it but that it is in a system call.
func sleepOutside(d time.Duration) {
	ts := syscall.NsecToTimespec(d.Nanoseconds())
	syscall.Nanosleep(&ts, nil)
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// timers lets so many goroutines sleep at once, each until a moment of its own. They begin when all have
// started; the first is due after four times as many microseconds as there are sleepers, the last after
// six times.
func timers(j job) *report {
	size := uint64(j.size)
	var ready, ended sync.WaitGroup
	var opened time.Time
	door := make(chan struct{})
	lateness := make([]time.Duration, size)
	ready.Add(j.size)
	for i := range size {
		ended.Go(func() {
			ready.Done()
			<-door
			due := opened.Add(time.Duration(4*size+scramble(i)%(2*size)) * time.Microsecond)
			time.Sleep(time.Until(due))
			lateness[i] = time.Since(due)
		})
	}
	ready.Wait()
	before := cpuTime()
	opened = time.Now()
	close(door)
	ended.Wait()
	cpu := cpuTime() - before
	late := &waits{}
	for _, wait := range lateness {
		late.add(wait)
	}
	return newReport(1, late.count).
		with("cpu", float64(cpu)/float64(size)).
		withWaits(late)
}

// mix has long computations that yield after every millisecond.
func mix(j job) *report { return shortBesideLong(j, time.Millisecond) }

// mixHogs has long computations that seldom yield.
func mixHogs(j job) *report { return shortBesideLong(j, 50*time.Millisecond) }

// shortBesideLong has, for so many milliseconds, goroutines that each wait for a moment and then do a little,
// beside some that compute all the time, until the last of the others is done. A wait is from that moment until
// the little is done. Those that compute stop after ten times as long, so that the others do not wait for ever.
func shortBesideLong(j job, burst time.Duration) *report {
	const short, long = 100, 4
	const period, work = 10 * time.Millisecond, 10 * time.Microsecond

	var left atomic.Int32
	left.Store(short)
	var steps atomic.Uint64
	var served, computed sync.WaitGroup
	requests := j.size / 10
	waited := make([]waits, short)
	start := time.Now()
	limit := 10 * period * time.Duration(requests)
	for id := range short {
		served.Go(func() {
			for request := 1; request <= requests; request++ {
				due := start.Add(period*time.Duration(request) + period*time.Duration(id)/short)
				time.Sleep(time.Until(due))
				burn(work)
				waited[id].add(time.Since(due))
			}
			// Not by whoever waits for all of them: it may have to wait for its turn much longer.
			left.Add(-1)
		})
	}
	for range long {
		computed.Go(func() {
			for left.Load() > 0 && time.Since(start) < limit {
				steps.Add(burn(burst))
				runtime.Gosched()
			}
		})
	}
	served.Wait()
	computed.Wait()
	rate := float64(steps.Load()) / time.Since(start).Seconds()
	all := &waits{}
	for id := range waited {
		all.merge(&waited[id])
	}
	return newReport(1, all.count).withWaits(all).with("work", rate)
}
