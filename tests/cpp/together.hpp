// Runs functions on several threads or in child processes and reports their failures.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <exception>
#include <thread>
#include <vector>

#include "check.hpp"

// Runs work(0), ..., work(workers - 1), each on its own thread, and rethrows a failure.
template <typename Work>
void run_together(std::size_t workers, const Work& work) {
    std::vector<std::exception_ptr> failures(workers);
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < workers; ++i) {
        threads.emplace_back([&work, &failures, i] {
            try {
                work(i);
            } catch (...) {
                failures[i] = std::current_exception();
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    for (const std::exception_ptr& failure : failures) {
        if (failure != nullptr) std::rethrow_exception(failure);
    }
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TESTS_ARE_SANITIZED 1
#elif defined(__has_feature)
#define TESTS_ARE_SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define TESTS_ARE_SANITIZED 0
#endif

// The number of threads up to which epochs are forked. The sanitizers of GCC 12 and Clang 14 do not
// release their allocator's lock at a fork, so a child of several threads could wait for it forever.
constexpr std::size_t MOST_FORKED_THREADS = TESTS_ARE_SANITIZED ? 1 : 4;

// Runs `work` in a forked child, with a timeout of one minute, and throws if it fails.
template <typename Work>
void in_child(const Work& work) {
    const pid_t child = fork();
    if (child == 0) {
        alarm(60);
        int status = 0;
        try {
            work();
        } catch (const std::exception& error) {
            std::printf("in a child: %s\n", error.what());
            std::fflush(stdout);
            status = 1;
        }
        _exit(status);
    }
    int status = -1;
    CHECK(child > 0);
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
}
