"""Networks: the policy, the value function, and how they are kept."""
