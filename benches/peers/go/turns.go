package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// How long runnable goroutines wait for their turn.

// turns measures goroutines that only yield, beside what others starts, for so many milliseconds.
func turns(j job, others func(stop *atomic.Bool)) *report {
	const probes = 4
	var stop atomic.Bool
	others(&stop)
	waited := make([]waits, probes)
	var ended sync.WaitGroup
	for id := range waited {
		runnable := time.Now()
		ended.Go(func() {
			for {
				waited[id].add(time.Since(runnable))
				if stop.Load() {
					return
				}
				runnable = time.Now()
				runtime.Gosched()
			}
		})
	}
	// Not a sleep of the runtime's, which the others could delay.
	runtime.LockOSThread()
	sleepOutside(time.Duration(j.size) * time.Millisecond)
	stop.Store(true)
	ended.Wait()
	all := &waits{}
	for id := range waited {
		all.merge(&waited[id])
	}
	return newReport(1, probes).withWaits(all)
}

func turnsYield(j job) *report {
	return turns(j, func(stop *atomic.Bool) {
		for range 100 {
			go func() {
				for !stop.Load() {
					runtime.Gosched()
				}
			}()
		}
	})
}

func turnsTalk(j job) *report {
	return turns(j, func(stop *atomic.Bool) {
		for range 8 {
			ping, pong := make(chan struct{}), make(chan struct{})
			go func() {
				for !stop.Load() {
					ping <- struct{}{}
					<-pong
				}
				close(ping)
			}()
			go func() {
				for range ping {
					pong <- struct{}{}
				}
			}()
		}
	})
}

func turnsCrowd(j job) *report {
	return turns(j, func(stop *atomic.Bool) {
		values := make(chan struct{}, 1024)
		for range 4 {
			go func() {
				for !stop.Load() {
					values <- struct{}{}
				}
			}()
			go func() {
				for range values {
				}
			}()
		}
	})
}

func turnsFork(j job) *report {
	var fork func(depth int)
	fork = func(depth int) {
		if depth > 0 {
			var ended sync.WaitGroup
			ended.Go(func() { fork(depth - 1) })
			fork(depth - 1)
			ended.Wait()
		}
	}
	return turns(j, func(stop *atomic.Bool) {
		for range 2 {
			go func() {
				for !stop.Load() {
					fork(15)
				}
			}()
		}
	})
}

func turnsHogs(j job) *report {
	return turns(j, func(stop *atomic.Bool) {
		for range 2 {
			go func() {
				for !stop.Load() {
					burn(20 * time.Millisecond)
					runtime.Gosched()
				}
			}()
		}
	})
}
